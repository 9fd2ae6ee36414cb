/** Topics, and who wants what here and elsewhere, as operators read them (AGP-59). */
import { create } from "@bufbuild/protobuf";
import { admin } from "@causeway/core-wire";
import type { AttachmentDriver } from "./attachment-driver.ts";
import type { TopicsDriver } from "./topics-driver.ts";

const subscriptionsPerAnswerMax = 10_000;

/** The topics that are kept or wanted here, and the subscriptions of agents here and of other gateways. */
export function listTopics(topics: TopicsDriver, attachments: AttachmentDriver): admin.ListTopicsResponse {
  const owners = new Map(topics.machine.topics().map((each) => [each.topic as string, each.owner]));
  const subscribers = new Map<string, string[]>();
  const peers = new Map<string, Set<string>>();
  const rows: admin.Subscription[] = [];
  let found = 0;
  const add = (row: () => admin.Subscription): void => {
    if (++found <= subscriptionsPerAnswerMax) rows.push(row());
  };
  for (const { pattern, entry } of topics.subscriptions()) {
    const subscriber = entry.peer.spiffeId;
    const others = subscribers.get(pattern);
    if (others === undefined) subscribers.set(pattern, [subscriber]);
    else others.push(subscriber);
    add(() => {
      const attachment = attachments.attachmentOf(entry.id);
      const state = attachment?.state.toUpperCase() ?? "";
      return create(admin.SubscriptionSchema, {
        topic: pattern,
        subscriber,
        instance: attachment?.instance ?? "",
        state,
      });
    });
  }
  for (const { origin, via, topics: wanted } of topics.machine.origins()) {
    for (const pattern of wanted) {
      peers.set(pattern, (peers.get(pattern) ?? new Set()).add(via));
      add(() =>
        create(admin.SubscriptionSchema, { topic: pattern, subscriber: origin, peer: via, state: "ANNOUNCED" }),
      );
    }
  }
  const names = [...new Set([...owners.keys(), ...subscribers.keys()])].sort();
  return create(admin.ListTopicsResponseSchema, {
    topics: names.map((topic) =>
      create(admin.TopicSchema, {
        topic,
        owner: owners.get(topic) ?? "",
        subscribers: subscribers.get(topic) ?? [],
        peers: [...(peers.get(topic) ?? [])].sort(),
      }),
    ),
    subscriptions: rows.sort((a, b) => compare(a.topic, b.topic) || compare(a.subscriber, b.subscriber)),
    truncated: found > subscriptionsPerAnswerMax,
  });
}

const compare = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
