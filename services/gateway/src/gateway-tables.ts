/** Every table and queue of a gateway with its size and its bound, for metrics (AAP-103). */
import type { DeliverySizes, Instant, TableSize } from "@causeway/core-base";
import { type ForwardingTable, type HopTrace } from "@causeway/core-forwarding";
import type { AttachmentDriver } from "./attachment-driver.ts";
import { backlogMax } from "./backlog.ts";
import type { EventFeed } from "./event-feed.ts";
import type { AllGatewayLimits } from "./limit-rules.ts";
import type { Links } from "./links.ts";
import type { MailboxDriver } from "./mailbox-driver.ts";
import type { GatewayDeps } from "./ports.ts";
import type { Relay } from "./relay.ts";
import type { Resolver } from "./resolver.ts";
import type { SyncDriver } from "./sync-driver.ts";
import type { TopicsDriver } from "./topics-driver.ts";

/** What each table holds. */
export const gatewayTables = {
  attachments: "Agents attached here, instances counted one by one.",
  links: "Open links, those of agents, of peers and of handshakes.",
  peer_links: "Data links to neighbour gateways.",
  forwarding: "Agents with an entry in the forwarding table.",
  return_paths: "Senders without a record that can be answered the way they came.",
  sticky_choices: "Choices of instance and of anycast member that are kept for a source.",
  held_messages: "Best-effort messages that wait for an agent that is away or asked for.",
  route_queries: "Unknown agents that Level-2 gateways are being asked for.",
  unknown_agents: "Agents of which it is remembered that nobody knows them.",
  resolved_agents: "Agents whose way was asked for and is in use.",
  mailboxes: "Messages stored for agents that are away.",
  dead_letters: "Stored messages that were given up.",
  topics: "Topics of agents of this gateway.",
  subscriptions: "Subscriptions of agents attached here.",
  slow_subscribers: "Publications that wait for subscribers that read too slowly.",
  sync_records: "Records of the record base.",
  sync_peers: "Peers of record synchronisation, readers included.",
  sync_unacknowledged: "Updates sent to peers and not acknowledged.",
  sync_queued: "Changes that wait for room towards peers, one for each record and peer.",
  sync_backlog: "Changes and messages that wait for a store that fails.",
  sync_subscriptions: "Subscriptions of peers to records.",
  hop_records: "Hop records for explain.",
  key_packages: "Unused key packages of agents of this gateway; counted once a minute.",
  mls_groups: "Groups whose commits are ordered here; counted once a minute.",
  mls_commits: "Commits kept for members that are behind; counted once a minute.",
  event_watchers: "Agents and operators that watch events.",
  output_queues: "Bytes queued to all links.",
  output_queue_longest: "Bytes queued to the link with the longest queue.",
} as const;

export type GatewayTableName = keyof typeof gatewayTables;

/** Where the sizes come from. */
export interface TableParts {
  readonly deps: GatewayDeps;
  readonly limits: AllGatewayLimits;
  readonly links: Links;
  readonly table: ForwardingTable;
  readonly trace: HopTrace;
  readonly events: EventFeed;
  readonly attachments: AttachmentDriver;
  readonly topics: TopicsDriver;
  readonly sync: SyncDriver;
  readonly mailboxes: MailboxDriver;
  readonly relay: Relay;
  readonly resolver: Resolver;
}

/** Counting rows of the store takes a moment. */
const countEveryMs = 60_000;

export class GatewayTables {
  readonly #parts: TableParts;
  #counted: { readonly at: Instant; readonly sizes: DeliverySizes } | undefined;

  constructor(parts: TableParts) {
    this.#parts = parts;
  }

  /** The sizes now. */
  sizes(): Readonly<Record<GatewayTableName, TableSize>> {
    return { ...this.#data(), ...this.#sync(), ...this.#rest() };
  }

  #data() {
    const { limits, links, table, attachments, relay, resolver, mailboxes } = this.#parts;
    const { held, slow } = relay.status();
    const totals = mailboxes.machine.totals();
    const found = resolver.status();
    const queued = links.all().map(({ link }) => link.bufferedBytes);
    const peers = this.#parts.sync.machine.peers().length;
    return {
      attachments: { entries: attachments.attachments().length, entriesMax: limits.attachmentsMax },
      links: { entries: queued.length },
      peer_links: { entries: links.peers().length },
      forwarding: {
        entries: table.size,
        entriesMax: limits.attachmentsMax + limits.resolvedMax + peers * limits["sync.recordsPerPeerMax"],
      },
      return_paths: { entries: table.returnPaths.size, entriesMax: limits.returnPathsMax },
      sticky_choices: { entries: table.sticky.size, entriesMax: table.sticky.bound },
      held_messages: { entries: held.messages, bytes: held.bytes, bytesMax: limits.heldTotalBytesMax },
      route_queries: { entries: found.open, entriesMax: limits.resolvingMax },
      unknown_agents: { entries: found.unknown, entriesMax: limits.unknownMax },
      resolved_agents: { entries: found.resolved, entriesMax: limits.resolvedMax },
      mailboxes: {
        entries: totals.messages,
        entriesMax: limits.mailboxTotalMessagesMax,
        bytes: totals.bytes,
        bytesMax: limits.mailboxTotalBytesMax,
      },
      dead_letters: {
        entries: totals.deadLetters,
        entriesMax: limits.deadLettersMax,
        bytes: totals.deadLetterBytes,
        bytesMax: limits.deadLetterBytesMax,
      },
      slow_subscribers: {
        entries: slow.messages,
        entriesMax: slow.subscribers * limits.topicQueueMessagesMax,
        bytes: slow.bytes,
        bytesMax: slow.subscribers * limits.topicQueueBytesMax,
      },
      output_queues: {
        bytes: queued.reduce((sum, bytes) => sum + bytes, 0),
        bytesMax: queued.length * limits.linkBufferedBytesMax,
      },
      output_queue_longest: {
        bytes: queued.reduce((most, bytes) => Math.max(most, bytes), 0),
        bytesMax: limits.linkBufferedBytesMax,
      },
    } satisfies Partial<Record<GatewayTableName, TableSize>>;
  }

  #sync() {
    const { limits, sync } = this.#parts;
    const peers = sync.machine.peers();
    const sum = (of: (peer: (typeof peers)[number]) => number): number =>
      peers.reduce((total, each) => total + of(each), 0);
    const recordsMax = limits.attachmentsMax + peers.length * limits["sync.recordsPerPeerMax"];
    return {
      sync_records: { entries: sync.machine.recordCount(), entriesMax: recordsMax },
      sync_peers: { entries: peers.length },
      sync_unacknowledged: {
        entries: sum((each) => each.unacknowledged),
        entriesMax: peers.length * limits["sync.unacknowledgedMax"],
      },
      sync_queued: { entries: sum((each) => each.queued), entriesMax: peers.length * recordsMax },
      sync_backlog: { entries: sync.backlogSize, entriesMax: backlogMax },
      sync_subscriptions: {
        entries: sum((each) => each.subscriptions),
        entriesMax: peers.length * limits["sync.subscriptionsActiveMax"],
      },
    } satisfies Partial<Record<GatewayTableName, TableSize>>;
  }

  #rest() {
    const { limits, trace, events, topics, attachments } = this.#parts;
    const { keyPackages, groups, commits } = this.#delivery();
    const subscriptions = [...topics.subscriptions()].length;
    return {
      topics: { entries: topics.machine.topics().length, entriesMax: topics.machine.topicsMax },
      subscriptions: {
        entries: subscriptions,
        entriesMax: attachments.attachments().length * limits.subscriptionsPerAgentMax,
      },
      hop_records: { entries: trace.size, entriesMax: limits.hopRecordsMax },
      key_packages: { entries: keyPackages },
      mls_groups: { entries: groups },
      mls_commits: { entries: commits, entriesMax: groups * limits.commitsPerGroupMax },
      event_watchers: { entries: events.watchers },
    } satisfies Partial<Record<GatewayTableName, TableSize>>;
  }

  #delivery(): DeliverySizes {
    const { store, scheduler } = this.#parts.deps;
    const { instant } = scheduler.now();
    if (this.#counted === undefined || instant - this.#counted.at >= countEveryMs)
      this.#counted = { at: instant, sizes: store.deliverySizes() };
    return this.#counted.sizes;
  }
}
