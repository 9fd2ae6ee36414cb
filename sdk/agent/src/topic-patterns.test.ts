/** Topics at run time through the SDK: listed, described, deleted, and subscribed to by pattern. */
import { describe, expect, test } from "vitest";
import type { AgentEvent, Publication } from "./api.ts";
import { codeOf, type TestAgent, TestNetwork } from "./testing/index.ts";

async function world(): Promise<{ network: TestNetwork; owner: TestAgent; other: TestAgent }> {
  const network = new TestNetwork();
  const owner = await network.connect("blue.example/travel/owner");
  const other = await network.connect("green.example/hotels/other");
  return { network, owner, other };
}

const heardOf = (heard: readonly Publication[]): string[] =>
  heard.map(({ topic, data }) => `${topic.slice(topic.lastIndexOf("/") + 1)} ${String(data)}`).sort();

describe("a topic that its owner deletes", () => {
  test("is gone for its members, its owner and who comes later; it can be created anew [AGP-12]", async () => {
    const { network, owner, other } = await world();
    const topic = await network.clock.until(owner.createTopic("deals", { publishers: ["green.example/"] }));
    const heard: Publication[] = [];
    await network.clock.until(other.subscribe(topic, (publication) => void heard.push(publication)));
    await network.clock.until(other.publish(topic, "before"));
    await network.clock.until(owner.deleteTopic("deals"));
    await network.clock.advance(1_000);
    expect(await codeOf(network.clock.until(other.publish(topic, "after")))).toBe("CAUSEWAY_TOPIC_NOT_FOUND");
    expect(await codeOf(network.clock.until(owner.publish(topic, "after")))).toBe("CAUSEWAY_TOPIC_NOT_FOUND");
    expect(await codeOf(network.clock.until(owner.deleteTopic("deals")))).toBe("CAUSEWAY_TOPIC_NOT_FOUND");
    expect(await codeOf(network.clock.until(other.deleteTopic(topic)))).toBe("CAUSEWAY_TOPIC_NOT_FOUND");
    expect(await codeOf(network.clock.until(other.describeTopic(topic)))).toBe("CAUSEWAY_TOPIC_NOT_FOUND");
    expect(owner.status().topics).toEqual([]);
    await network.clock.until(owner.createTopic("deals"));
    const again: Publication[] = [];
    await network.clock.until(other.subscribe(topic, (publication) => void again.push(publication)));
    await network.clock.until(owner.publish(topic, "anew"));
    await network.clock.advance(1_000);
    expect(heardOf(again)).toEqual(["deals anew"]);
  });
});

describe("a topic that is created again", () => {
  test("has its new policy at its owner and at every member [AGP-12]", async () => {
    const { network, owner, other } = await world();
    const staff = await network.connect("blue.example/travel/staff");
    const topic = await network.clock.until(owner.createTopic("deals"));
    const heard: Publication[] = [];
    const gone: Publication[] = [];
    const refused: AgentEvent[] = [];
    other.onEvent((event) => void (event.type === "security" && refused.push(event)));
    await network.clock.until(staff.subscribe(topic, (publication) => void gone.push(publication)));
    await network.clock.until(other.subscribe(topic, (publication) => void heard.push(publication)));
    expect(await codeOf(network.clock.until(other.publish(topic, "not yet")))).toBe("CAUSEWAY_TOPIC_NOT_ALLOWED");
    const rights = { publishers: ["green.example/"], subscribers: ["green.example/"] };
    await network.clock.until(owner.createTopic("deals", rights));
    await network.clock.advance(1_000);
    // A new publisher may, and who has no rights any more is out.
    await network.clock.until(other.publish(topic, "from other"));
    await network.clock.until(owner.publish(topic, "from owner"));
    await network.clock.advance(1_000);
    expect(heardOf(heard)).toEqual(["deals from owner"]);
    expect(gone).toEqual([]);
    expect(owner.status().topics[0]?.members).toBe(2);
    expect(refused).toEqual([]);
    expect(await codeOf(network.clock.until(staff.publish(topic, "out")))).toBe("CAUSEWAY_TOPIC_NOT_ALLOWED");
    const third = await network.connect("green.example/hotels/third");
    const late: Publication[] = [];
    await network.clock.until(third.subscribe(topic, (publication) => void late.push(publication)));
    await network.clock.until(other.publish(topic, "to all"));
    await network.clock.advance(1_000);
    expect(heardOf(late)).toEqual(["deals to all"]);
  });

  test("may not be heard any more by a member that may only publish now [AGP-12]", async () => {
    const { network, owner, other } = await world();
    const topic = await network.clock.until(owner.createTopic("box", { publishers: ["green.example/"] }));
    const heard: Publication[] = [];
    await network.clock.until(other.subscribe(topic, (publication) => void heard.push(publication)));
    const rights = { publishers: ["green.example/"], subscribers: ["blue.example/"] };
    await network.clock.until(owner.createTopic("box", rights));
    await network.clock.advance(1_000);
    await network.clock.until(owner.publish(topic, "secret"));
    await network.clock.advance(1_000);
    expect(heard).toEqual([]);
    expect(network.hub.subscribersOf(topic)).toEqual([owner.id]);
    await network.clock.until(other.publish(topic, "still"));
  });
});

describe("a topic that expired because nobody used it", () => {
  test("is gone for its owner and its members, and not made anew by a new link [AGP-12]", async () => {
    const { network, owner, other } = await world();
    const rights = { idleExpiryMs: 60_000, publishers: ["green.example/"] };
    const topic = await network.clock.until(owner.createTopic("deals", rights));
    await network.clock.until(other.publish(topic, "one"));
    await network.clock.advance(120_000);
    network.hub.expire(topic);
    expect(await codeOf(network.clock.until(other.publish(topic, "two")))).toBe("CAUSEWAY_TOPIC_NOT_FOUND");
    network.hub.cut(owner.id);
    await network.clock.advance(30_000);
    expect(await codeOf(network.clock.until(other.describeTopic(topic)))).toBe("CAUSEWAY_TOPIC_NOT_FOUND");
    expect(await codeOf(network.clock.until(owner.publish(topic, "three")))).toBe("CAUSEWAY_TOPIC_NOT_FOUND");
    expect(owner.status().topics).toEqual([]);
  });
});

describe("topics are told", () => {
  test("by the gateway of their owner, with their rights, to other domains too [AGP-12]", async () => {
    const { network, owner, other } = await world();
    const rights = {
      publishers: ["spiffe://green.example/"],
      overflow: "block",
      retained: 3,
      priority: "bulk",
    } as const;
    const topic = await network.clock.until(owner.createTopic("deals", rights));
    await network.clock.until(owner.createTopic("news"));
    const described = await network.clock.until(other.describeTopic(topic));
    expect(described).toMatchObject({ topic, owner: owner.id, rights });
    const names = (list: readonly { readonly topic: string }[]) => list.map((each) => each.topic);
    expect(names(await network.clock.until(other.listTopics("blue.example/travel/owner")))).toEqual([
      topic,
      "blue.example/travel/owner/news",
    ]);
    expect(names(await network.clock.until(owner.listTopics()))).toHaveLength(2);
    expect(await network.clock.until(other.listTopics())).toEqual([]);
    expect(await codeOf(network.clock.until(other.listTopics("blue.example/travel/absent")))).toBe(
      "CAUSEWAY_FORWARDING_NO_ROUTE",
    );
  });
});

describe("a subscription to a pattern", () => {
  test("hears every topic of the owner that is there, each publication once [AGP-20]", async () => {
    const { network, owner, other } = await world();
    for (const name of ["deals", "news"]) await network.clock.until(owner.createTopic(name));
    await network.clock.until(owner.createTopic("staff", { subscribers: ["blue.example/"] }));
    const heard: Publication[] = [];
    const warnings: AgentEvent[] = [];
    other.onEvent((event) => void (event.type === "warning" && warnings.push(event)));
    const subscription = await network.clock.until(
      other.subscribe("blue.example/travel/owner/*", (publication) => void heard.push(publication)),
    );
    expect(subscription.topic).toBe("blue.example/travel/owner/*");
    for (const name of ["deals", "news", "staff"]) await network.clock.until(owner.publish(name, "one"));
    await network.clock.advance(1_000);
    expect(heardOf(heard)).toEqual(["deals one", "news one"]);
    // What may not be heard is not asked for.
    expect(warnings).toEqual([]);
    await network.clock.until(subscription.close());
    await network.clock.advance(1_000);
    await network.clock.until(owner.publish("deals", "two"));
    await network.clock.advance(1_000);
    expect(heard).toHaveLength(2);
    expect(network.hub.subscribersOf("blue.example/travel/owner/*")).toEqual([]);
    expect(owner.status().topics.map(({ members }) => members)).toEqual([1, 1, 1]);
  });

  test("hears a topic that comes later from its first message on, when the owner retains it [AGP-20]", async () => {
    const { network, owner, other } = await world();
    const heard: Publication[] = [];
    await network.clock.until(
      other.subscribe("blue.example/travel/owner/*", (publication) => void heard.push(publication)),
    );
    await network.clock.advance(5_000);
    await network.clock.until(owner.createTopic("late", { retained: 10 }));
    await network.clock.until(owner.publish("late", "one"));
    await network.clock.advance(2_000);
    expect(heardOf(heard)).toEqual(["late one"]);
    await network.clock.until(owner.publish("late", "two"));
    await network.clock.advance(1_000);
    expect(heardOf(heard)).toEqual(["late one", "late two"]);
  });

  test("hears a topic whose first message comes right after the pattern was looked at [AGP-20]", async () => {
    const { network, owner, other } = await world();
    const heard: Publication[] = [];
    await network.clock.until(
      other.subscribe("blue.example/travel/owner/*", (publication) => void heard.push(publication)),
    );
    await network.clock.until(owner.createTopic("late", { retained: 10 }));
    await network.clock.until(owner.publish("late", "one"));
    await network.clock.advance(3_000);
    expect(heardOf(heard)).toEqual(["late one"]);
  });

  test("hears a topic that comes later without a message within a minute, and forgets one that goes", async () => {
    const { network, owner, other } = await world();
    const heard: Publication[] = [];
    await network.clock.until(
      other.subscribe("blue.example/travel/owner/*", (publication) => void heard.push(publication)),
    );
    await network.clock.until(owner.createTopic("quiet"));
    await network.clock.advance(61_000);
    expect(owner.status().topics).toMatchObject([{ members: 2 }]);
    await network.clock.until(owner.publish("quiet", "one"));
    await network.clock.advance(1_000);
    expect(heardOf(heard)).toEqual(["quiet one"]);
    await network.clock.until(owner.deleteTopic("quiet"));
    await network.clock.advance(61_000);
    expect(other.status().topics).toEqual([]);
  });

  test("goes on over a lost link", async () => {
    const { network, owner, other } = await world();
    await network.clock.until(owner.createTopic("deals"));
    const heard: Publication[] = [];
    await network.clock.until(
      other.subscribe("blue.example/travel/owner/*", (publication) => void heard.push(publication)),
    );
    network.hub.cut(other.id);
    await network.clock.advance(30_000);
    expect(network.hub.subscribersOf("blue.example/travel/owner/*")).toEqual([other.id]);
    await network.clock.until(owner.publish("deals", "after"));
    await network.clock.advance(1_000);
    expect(heardOf(heard)).toEqual(["deals after"]);
  });

  test("ends with the agent: a look that was to come soon does not come", async () => {
    const { network, owner, other } = await world();
    await network.clock.until(owner.createTopic("deals"));
    await network.clock.until(other.subscribe("blue.example/travel/owner/*", () => undefined));
    // A message of a topic that is not known yet says that it has come.
    await network.clock.until(owner.createTopic("late"));
    await network.clock.until(owner.publish("late", "one"));
    await network.clock.advance(10);
    const events: string[] = [];
    other.onEvent(({ type }) => void events.push(type));
    await network.clock.until(other.close());
    await network.clock.advance(60_000);
    expect(events.at(-1)).toBe("closed");
    expect(events).not.toContain("warning");
  });

  test("of the own topics needs no name, and hears what others publish [AGP-20]", async () => {
    const { network, owner, other } = await world();
    const heard: Publication[] = [];
    await network.clock.until(owner.subscribe("*", (publication) => void heard.push(publication)));
    await network.clock.until(owner.createTopic("inbox", { publishers: ["green.example/"] }));
    await network.clock.advance(1_000);
    await network.clock.until(other.publish("blue.example/travel/owner/inbox", "hello"));
    await network.clock.advance(1_000);
    expect(heardOf(heard)).toEqual(["inbox hello"]);
  });

  test("is refused for an owner that is not there, and for names that are none [AGP-20]", async () => {
    const { network, other } = await world();
    const subscribe = (pattern: string) => codeOf(network.clock.until(other.subscribe(pattern, () => undefined)));
    expect(await subscribe("blue.example/travel/absent/*")).toBe("CAUSEWAY_FORWARDING_NO_ROUTE");
    for (const wrong of ["/*", "blue.example/*/deals", "blue.example/tra vel/*", "blue.example/travel/**"])
      expect(await subscribe(wrong), wrong).toBe("CAUSEWAY_NAME_INVALID");
    expect(network.hub.subscribersOf("blue.example/travel/absent/*")).toEqual([]);
  });
});
