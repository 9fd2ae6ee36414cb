/**
 * Topics of this agent: those that it owns, publishes to and subscribes to. A topic's group is an MLS group of the
 * owner; whoever wants in asks the owner in an ordinary encrypted exchange, and the owner judges by the topic's rights
 * (AGP-20). Gateways see the topic's name and ciphertext.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AgentId,
  agentOf,
  CausewayError,
  type Instant,
  later,
  parseAgentId,
  parseSpiffeId,
  refuse,
  shortName,
} from "@causeway/core-base";
import { agp, session } from "@causeway/core-wire";
import type {
  AgentEvent,
  CallOptions,
  Publication,
  PublicationHandler,
  Subscription,
  TopicDescription,
  TopicRights,
} from "./api.ts";
import type { At, AttachedFacts, Attachments } from "./attachments.ts";
import { fromHex, toHex } from "./bytes.ts";
import type { Connector } from "./connector.ts";
import { Content, type Data } from "./content.ts";
import type { DeliveryService } from "./delivery-service.ts";
import type { EndToEnd, GroupChange, GroupView, Opened } from "./end-to-end.ts";
import { handlerError } from "./exchange/answers.ts";
import { timeoutOf } from "./exchange/limits.ts";
import type { Exchanges } from "./exchanges.ts";
import type { GatewaySession } from "./gateway-session.ts";
import type { Delivery, Messenger } from "./messenger.ts";
import { Serial } from "./serial.ts";
import { contentOf, dataOf, errorOf, type SessionBody } from "./session/messages.ts";
import { Rate } from "./session/rate.ts";
import { descriptionOf, TopicCommands } from "./topic-commands.ts";
import { TopicHistory } from "./topic-history.ts";
import { TopicPatterns } from "./topic-patterns.ts";
import {
  defaultOwner,
  isBulkTopic,
  mayPublish,
  maySubscribe,
  patternName,
  policyOf,
  topicName,
} from "./topic-rights.ts";

export interface TopicsPorts {
  readonly self: AgentId;
  readonly connector: Connector;
  readonly session: Attachments;
  readonly delivery: DeliveryService;
  readonly messenger: Messenger;
  readonly endToEnd: EndToEnd;
  readonly exchanges: () => Exchanges;
  readonly onEvent: (event: AgentEvent) => void;
}

interface Handler {
  /** Orders its publications. */
  readonly name: string;
  readonly run: PublicationHandler;
  waiting: number;
}

/** What was heard of one publisher: everything up to its last publication but those that are missing. */
interface Heard {
  readonly run: string;
  readonly sequence: number;
  /** Those that the topic's owner may have kept. Bounded, oldest first. */
  readonly missing: Set<number>;
}

interface Joined {
  readonly owner: AgentId;
  policy: agp.TopicPolicy | undefined;
  readonly handlers: Set<Handler>;
  /** By publisher. */
  readonly heard: Map<AgentId, Heard>;
  published: number;
}

export class Topics {
  readonly #ports: TopicsPorts;
  readonly #owned = new Map<string, agp.TopicPolicy>();
  /** Rights of the topics that others own, as of their grants. */
  readonly #granted = new Map<string, agp.TopicPolicy>();
  readonly #joined = new Map<string, Joined>();
  readonly #serial = new Serial();
  readonly #history = new TopicHistory();
  readonly #commands: TopicCommands;
  readonly #patterns: TopicPatterns;
  readonly #run: Uint8Array;
  readonly #joins: Rate;
  /** When a topic was last published to, as far as this agent knows. */
  readonly #usedAt = new Map<string, Instant>();
  /** The gateway that was told of the topics of this agent last. */
  #keptBy: string | undefined;
  #nextHandler = 1;

  constructor(ports: TopicsPorts) {
    this.#ports = ports;
    this.#run = ports.connector.random.bytes(8);
    this.#commands = new TopicCommands(ports.self, ports.session, ports.delivery);
    this.#patterns = new TopicPatterns({
      self: ports.self,
      scheduler: ports.connector.scheduler,
      link: (pattern, options, at) => this.#link(pattern, options, at),
      unlink: (pattern) => this.#unlink(pattern),
      list: (prefix, owner, options) => this.#commands.list(prefix, owner, options),
      subscribe: (topic, run, options) => this.#subscribeTo(topic, run, options),
      warn: (thrown) => ports.onEvent({ type: "warning", error: CausewayError.from(thrown) }),
    });
    this.#joins = new Rate(ports.connector.scheduler, joinsMax, joinsMs);
  }

  /** Reads the topics that an earlier run of this agent created or was admitted to. */
  async load(): Promise<void> {
    const stored = await this.#ports.connector.store.get(ownedKey);
    if (!stored) return;
    for (const { topic, owner, policy } of fromBinary(agp.TopicResultSchema, stored).topics) {
      if (policy) (owner === this.#ports.self ? this.#owned : this.#granted).set(topic, policy);
    }
  }

  async create(topic: string, rights: TopicRights, options: CallOptions): Promise<string> {
    const { self, endToEnd } = this.#ports;
    const name = topicName(topic, self);
    const policy = policyOf(rights);
    if (this.#owned.size >= ownedMax)
      throw refuse("CAUSEWAY_LIMIT_COUNT", `expected at most ${ownedMax} topics of one agent, got another one`);
    await this.#announce(name, policy, options, "each");
    // The owner hears its own topic too: members announce there that they leave or renew their keys.
    await this.#link(name, options);
    if (!endToEnd.groupByName(name)) await endToEnd.createGroup(name);
    const before = this.#owned.get(name);
    this.#owned.set(name, policy);
    this.#noteUse(name);
    await this.#store();
    // Also for the policy that it had: members may have missed that one.
    if (before !== undefined) await this.#change(name, policy);
    else this.#patterns.handleCreated(name);
    return name;
  }

  /** Members that have no rights any more are out; the others hear what the policy is now. */
  async #change(topic: string, policy: agp.TopicPolicy): Promise<void> {
    const { self, endToEnd, messenger } = this.#ports;
    const joined = this.#joined.get(topic);
    if (joined) joined.policy = policy;
    await this.#serial.run(`owner ${topic}`, async () => {
      const group = endToEnd.groupByName(topic);
      if (!group) return;
      const isOut = (agent: AgentId): boolean => !mayPublish(policy, self, agent) && !maySubscribe(policy, self, agent);
      const out = group.members.filter((agent) => agent !== self && isOut(agent));
      if (out.length > 0) await this.sendChange(await endToEnd.removeMembers(group.groupId, out));
      if (group.members.length - out.length < 2) return;
      const value = create(session.TopicChangeSchema, { topic, policy });
      const { overflow } = policy;
      const facts = { trace: false, overflow, isBulk: isBulkTopic(policy) };
      await messenger.publish(topic, group.groupId, { case: "topicChange", value }, facts);
    });
  }

  /** Its members are out first, so that what they publish later is refused for them at once. */
  async delete(topic: string, options: CallOptions): Promise<void> {
    const { self, endToEnd } = this.#ports;
    const name = topicName(topic, self);
    await this.#serial.run(`owner ${name}`, async () => {
      if (!this.#owned.has(name))
        throw refuse("CAUSEWAY_TOPIC_NOT_FOUND", `expected a topic that this agent created, got ${name}`);
      const group = endToEnd.groupByName(name);
      if (group) await this.sendChange(await endToEnd.leave(group.groupId));
      await this.#commands.erase(name, options);
      await this.#forget(name);
    });
  }

  async describe(topic: string, options: CallOptions & { readonly owner?: string }): Promise<TopicDescription> {
    const name = topicName(topic, this.#ports.self);
    return this.#commands.describe(name, ownerOf(name, options.owner), options);
  }

  /** Topics of one agent. */
  async list(owner: string | undefined, options: CallOptions): Promise<readonly TopicDescription[]> {
    const of = owner === undefined ? this.#ports.self : parseAgentId(owner);
    return (await this.#commands.list(shortName(of), of, options)).map(descriptionOf);
  }

  async publish(topic: string, data: Data, options: CallOptions & { readonly owner?: string }): Promise<void> {
    const { self, messenger } = this.#ports;
    const name = topicName(topic, self);
    const joined = this.#joinedTo(name, options.owner);
    const group = await this.#member(name, joined, options).catch((thrown: unknown) => {
      const isUnused = joined.handlers.size === 0 && this.#joined.get(name) === joined;
      if (isUnused && !this.#ports.endToEnd.groupByName(name)) this.#joined.delete(name);
      throw thrown;
    });
    if (!mayPublish(joined.policy, joined.owner, self)) throw notAllowed(self, "publish to", name);
    await this.#checkIdle(name, joined.owner, joined.policy, options);
    this.#noteUse(name);
    const value = create(session.TopicDataSchema, {
      topic: name,
      data: dataOf(Content.of(data)),
      run: this.#run,
      sequence: BigInt(++joined.published),
    });
    const overflow = joined.policy?.overflow ?? agp.TopicOverflow.UNSPECIFIED;
    await messenger.publish(
      name,
      group.groupId,
      { case: "topicData", value },
      { trace: options.trace ?? false, overflow, isBulk: isBulkTopic(joined.policy) },
    );
    this.#keep(name, self, value);
  }

  async subscribe(
    topic: string,
    run: PublicationHandler,
    options: CallOptions & { readonly owner?: string },
  ): Promise<Subscription> {
    if (topic !== "*" && !topic.endsWith("/*")) return this.#subscribeTo(topic, run, options);
    const pattern = patternName(topic, this.#ports.self);
    // What comes before the `*` is the owner, if nobody says otherwise.
    return this.#patterns.subscribe(pattern, ownerOf(pattern, options.owner), run, options);
  }

  /** A message of a topic came that this agent is no member of. */
  handleUnknown(topic: string): void {
    this.#patterns.handleUnknown(topic);
  }

  async #subscribeTo(
    topic: string,
    run: PublicationHandler,
    options: CallOptions & { readonly owner?: string },
  ): Promise<Subscription> {
    const name = topicName(topic, this.#ports.self);
    const joined = this.#joinedTo(name, options.owner);
    const handler: Handler = { name: `handler ${this.#nextHandler++}`, run, waiting: 0 };
    joined.handlers.add(handler);
    try {
      await this.#member(name, joined, options);
      // Who publishes is a member of the group, with or without the right to hear the topic.
      if (!maySubscribe(joined.policy, joined.owner, this.#ports.self))
        throw notAllowed(this.#ports.self, "subscribe to", name);
    } catch (thrown) {
      joined.handlers.delete(handler);
      // A member that may publish stays one.
      if (!joined.policy) this.#inBackground(this.#release(name, joined));
      throw thrown;
    }
    const close = (): Promise<void> => this.#unsubscribe(name, joined, handler);
    return { topic: name, close, [Symbol.asyncDispose]: close };
  }

  /** A message or handshake that came on a topic. */
  handle(topic: string, opened: Opened, body: SessionBody | undefined): void {
    if (opened.kind === "handshake") {
      this.#handleHandshake(topic, opened);
      return;
    }
    const joined = this.#joined.get(topic);
    const owned = this.#owned.get(topic);
    const from = opened.sender;
    const owner = joined?.owner ?? this.#ports.self;
    if (body?.case === "topicChange" && body.value.topic === topic && joined && from === owner) {
      this.#inBackground(this.#takePolicy(topic, joined, body.value.policy));
      return;
    }
    if (body?.case !== "topicData" || body.value.topic !== topic) return;
    this.#noteUse(topic);
    if ((joined !== undefined || owned !== undefined) && !mayPublish(joined?.policy ?? owned, owner, from)) {
      this.#ports.onEvent({ type: "security", peer: from, error: notAllowed(from, "publish to", topic) });
      return;
    }
    this.#keep(topic, from, body.value);
    if (!joined) return;
    const missed = this.#missed(joined, from, body.value);
    if (missed < 0) return;
    if (missed > 0) this.#ports.onEvent({ type: "gap", scope: "topic", name: topic, missed, downMs: 0 });
    const content = contentOf(body.value.data);
    this.#handOver(topic, joined, {
      topic,
      from,
      content,
      get data() {
        return content.data;
      },
      missed,
    });
  }

  /** The owner has changed the rights. Who may not hear the topic any more ends its subscriptions. */
  async #takePolicy(topic: string, joined: Joined, policy: agp.TopicPolicy | undefined): Promise<void> {
    const { self, onEvent } = this.#ports;
    if (policy === undefined || joined.owner === self) return;
    joined.policy = policy;
    this.#granted.set(topic, policy);
    await this.#store();
    if (joined.handlers.size === 0 || maySubscribe(policy, joined.owner, self)) return;
    joined.handlers.clear();
    await this.#attempt(this.#unlink(topic));
    onEvent({ type: "warning", error: notAllowed(self, "subscribe to", topic) });
  }

  /** Another agent wants to be a member. */
  async handleJoin(
    from: AgentId,
    join: session.TopicJoin,
  ): Promise<Omit<session.TopicGrant, "exchange" | "$typeName">> {
    const { self, endToEnd } = this.#ports;
    const policy = this.#owned.get(join.topic);
    const group = endToEnd.groupByName(join.topic);
    if (!policy || !group)
      throw refuse("CAUSEWAY_TOPIC_NOT_FOUND", `expected a topic of ${shortName(self)}, got ${join.topic}`);
    if (join.subscribe && !maySubscribe(policy, self, from)) throw notAllowed(from, "subscribe to", join.topic);
    if (join.publish && !mayPublish(policy, self, from)) throw notAllowed(from, "publish to", join.topic);
    const retained = (): session.RetainedPublication[] =>
      join.subscribe ? this.#history.of(join.topic, policy, this.#ports.connector.scheduler.now().unix) : [];
    // Each time costs every member a commit, also for who is a member already and says that it lost its state.
    if (!this.#joins.allows(`${from} ${join.topic}`)) {
      const problem = `expected at most ${joinsMax} joins of ${shortName(from)} to ${join.topic} in ${joinsMs / 60_000} minutes; retry later`;
      throw refuse("CAUSEWAY_LIMIT_RATE", problem);
    }
    const facts = { topic: join.topic, groupId: fromHex(group.groupId), policy };
    if (join.replayOnly && group.members.includes(from))
      return { ...facts, welcome: new Uint8Array(), securityContextId: new Uint8Array(), retained: retained() };
    // One change at a time: the welcome of one member is for the epoch that its own addition made.
    return this.#serial.run(`owner ${join.topic}`, async () => {
      const change = await endToEnd.addMembers(group.groupId, [from]);
      const refusal = change.refused.find(({ agent }) => agent === from);
      if (refusal) throw refuse(refusal.code, refusal.message);
      const welcome = change.welcomes.find(({ to }) => to === from)?.frame;
      await this.sendChange({ ...change, welcomes: change.welcomes.filter(({ to }) => to !== from) });
      return {
        ...facts,
        welcome: welcome?.payload ?? new Uint8Array(),
        securityContextId: welcome?.securityContextId ?? new Uint8Array(),
        // Taken after the addition: what is published from now on is in an epoch that the member can read.
        retained: retained(),
      };
    });
  }

  /** Another agent wants to be a member no more. */
  handleLeave(delivery: Delivery, leave: session.TopicLeave): void {
    delivery.settle();
    const { endToEnd } = this.#ports;
    const group = endToEnd.groupByName(leave.topic);
    if (!group || !this.#owned.has(leave.topic) || !group.members.includes(delivery.from)) return;
    this.#inBackground(
      this.#serial.run(`owner ${leave.topic}`, async () => {
        await this.sendChange(await endToEnd.removeMembers(group.groupId, [delivery.from]));
      }),
    );
  }

  /** Attached: this gateway has to know the topics and subscriptions of this agent. */
  async handleAttached(at: GatewaySession, { isFirst, takesOver }: AttachedFacts): Promise<void> {
    const { self } = this.#ports;
    const gateway = at.lease?.gatewayId;
    const isSame = isFirst && gateway === this.#keptBy;
    for (const [topic, policy] of [...this.#owned]) {
      // What this gateway let expire is not made anew by its owner's return; another one has not heard of it.
      if (isSame && this.#mayBeExpired(topic, policy))
        await this.#checkIdle(topic, self, policy, {}).catch(() => undefined);
      else await this.#attempt(this.#announce(topic, policy, {}, at));
    }
    this.#keptBy = gateway;
    for (const topic of new Set([...this.#owned.keys(), ...this.#joined.keys()]))
      await this.#attempt(this.#link(topic, {}, at));
    for (const [topic, joined] of this.#joined) {
      if (isFirst) await this.#attempt(this.#catchUp(topic, joined));
      // The gateway ended the older attachment before it knew of these subscriptions. Owners may be away.
      else if (takesOver) this.#inBackground(this.#catchUp(topic, joined));
    }
    await this.#patterns.handleAttached(at);
  }

  /** Sends what a change of a group's members or keys has to tell the others. */
  async sendChange(change: GroupChange): Promise<void> {
    const { messenger, self } = this.#ports;
    const { group } = change;
    if (group.kind === "topic") {
      // In the class of the topic: what changes its keys must not overtake what was encrypted before.
      const policy = this.#owned.get(group.name) ?? this.#joined.get(group.name)?.policy;
      await messenger.sender.sendFrames({ kind: "topic", name: group.name }, change.frames, isBulkTopic(policy));
    } else {
      const peer = group.members.find((member) => member !== self);
      if (peer) await messenger.sender.sendFrames({ kind: "agent", name: peer }, change.frames);
    }
    for (const { to, frame } of change.welcomes)
      await messenger.sender.sendFrames({ kind: "agent", name: to }, [frame]);
  }

  /** Removal of revoked members, key updates: what the end-to-end layer finds due. */
  async maintain(): Promise<void> {
    for (const change of await this.#ports.endToEnd.maintain()) await this.#attempt(this.sendChange(change));
    if (this.#ports.session.lease) this.#patterns.maintain();
  }

  /** The agent has closed. */
  close(): void {
    this.#patterns.close();
  }

  report(): readonly {
    readonly topic: string;
    readonly owner: AgentId;
    readonly members: number;
    readonly epoch: number;
  }[] {
    const { endToEnd, self } = this.#ports;
    const names = new Set([...this.#owned.keys(), ...this.#joined.keys()]);
    return [...names].map((topic) => {
      const group = endToEnd.groupByName(topic);
      return {
        topic,
        owner: this.#joined.get(topic)?.owner ?? self,
        members: group?.members.length ?? 0,
        epoch: Number(group?.epoch ?? 0n),
      };
    });
  }

  #joinedTo(topic: string, owner: string | undefined): Joined {
    const known = this.#joined.get(topic);
    if (known) return known;
    if (this.#joined.size >= joinedMax)
      throw refuse("CAUSEWAY_LIMIT_COUNT", `expected at most ${joinedMax} topics at once, got another one`);
    const joined: Joined = {
      owner: this.#owned.has(topic) ? this.#ports.self : ownerOf(topic, owner),
      policy: this.#owned.get(topic) ?? this.#granted.get(topic),
      handlers: new Set(),
      heard: new Map(),
      published: 0,
    };
    this.#joined.set(topic, joined);
    return joined;
  }

  /** Makes this agent a member of the topic's group, which it may be from an earlier run. */
  #member(topic: string, joined: Joined, options: CallOptions): Promise<GroupView> {
    return this.#serial.run(`member ${topic}`, async () => {
      const { self, endToEnd, exchanges } = this.#ports;
      const wantsContent = joined.handlers.size > 0;
      // Subscribed first, so that nothing between the welcome and the subscription is missed.
      await this.#link(topic, options).catch((thrown: unknown) => {
        // Who may only publish is a member of the group without hearing the topic.
        if (wantsContent || CausewayError.from(thrown).code !== "CAUSEWAY_TOPIC_NOT_ALLOWED") throw thrown;
      });
      const known = endToEnd.groupByName(topic);
      if (known && (joined.owner === self || joined.policy)) return known;
      if (joined.owner === self)
        throw refuse("CAUSEWAY_TOPIC_NOT_FOUND", `expected a topic that this agent created, got ${topic}`);
      const join = create(session.TopicJoinSchema, { topic, subscribe: wantsContent, publish: !wantsContent });
      const grant = await exchanges().join(joined.owner, join, options);
      joined.policy = grant.policy;
      if (grant.welcome.length > 0) {
        const opened = await endToEnd.open(joined.owner, grant.securityContextId, grant.welcome);
        if (opened.group.name !== topic || opened.group.owner !== joined.owner) {
          throw refuse(
            "CAUSEWAY_E2EE_SENDER_MISMATCH",
            `expected the group of ${topic}, got ${opened.group.name} of ${opened.group.owner}`,
          );
        }
      }
      const group = endToEnd.groupByName(topic);
      if (grant.policy) this.#granted.set(topic, grant.policy);
      if (wantsContent) this.#replay(topic, joined, grant.retained);
      await this.#store();
      if (!group)
        throw refuse(
          "CAUSEWAY_TOPIC_NOT_ALLOWED",
          `expected to be a member of ${topic} after its owner's grant, got no group`,
        );
      return group;
    });
  }

  #noteUse(topic: string): void {
    if (this.#owned.has(topic) || this.#joined.has(topic))
      this.#usedAt.set(topic, this.#ports.connector.scheduler.now().instant);
  }

  /** True when the topic's gateway may have let it expire. */
  #mayBeExpired(topic: string, policy: agp.TopicPolicy | undefined): boolean {
    const idleMs = Number(policy?.idleExpiryMs ?? 0n);
    const usedAt = this.#usedAt.get(topic);
    if (idleMs === 0 || usedAt === undefined) return false;
    // From half of the time on: the gateway's count began earlier than this agent's.
    return this.#ports.connector.scheduler.now().instant >= later(usedAt, idleMs / 2);
  }

  /** Throws when the topic has expired, which ends it here as well. */
  async #checkIdle(
    topic: string,
    owner: AgentId,
    policy: agp.TopicPolicy | undefined,
    options: CallOptions,
  ): Promise<void> {
    if (!this.#mayBeExpired(topic, policy)) return;
    try {
      await this.#commands.describe(topic, owner, options);
    } catch (thrown) {
      if (CausewayError.from(thrown).code !== "CAUSEWAY_TOPIC_NOT_FOUND") return;
      await this.#forget(topic);
      throw thrown;
    }
  }

  /** The topic is no more: nothing of it is kept. */
  async #forget(topic: string): Promise<void> {
    const { endToEnd } = this.#ports;
    this.#owned.delete(topic);
    this.#granted.delete(topic);
    this.#joined.delete(topic);
    this.#usedAt.delete(topic);
    this.#history.forget(topic);
    await this.#store();
    const group = endToEnd.groupByName(topic);
    // There is no topic on which the others could be told.
    if (group) await endToEnd.leave(group.groupId);
    await this.#attempt(this.#unlink(topic));
  }

  /** The owner keeps what its topic's policy says. */
  #keep(topic: string, from: AgentId, data: session.TopicData): void {
    const policy = this.#owned.get(topic);
    if (policy) this.#history.note(policy, from, data, this.#ports.connector.scheduler.now().unix);
  }

  /** What a member may have missed while it was not attached. */
  async #catchUp(topic: string, joined: Joined): Promise<void> {
    const isMember = this.#ports.endToEnd.groupByName(topic) !== undefined;
    if (joined.owner === this.#ports.self || joined.handlers.size === 0 || !isMember) return;
    if ((joined.policy?.retained ?? 0) === 0) return;
    const join = create(session.TopicJoinSchema, { topic, subscribe: true, replayOnly: true });
    const { retained, policy } = await this.#ports.exchanges().join(joined.owner, join, {});
    if (policy) joined.policy = policy;
    this.#replay(topic, joined, retained);
  }

  /** Hands over what the owner kept, each publication that was not heard before. */
  #replay(topic: string, joined: Joined, retained: readonly session.RetainedPublication[]): void {
    for (const { from, data, atUnixMs } of retained) {
      if (!data || data.topic !== topic) continue;
      const publisher = agentOf(parseSpiffeId(from));
      if (!mayPublish(joined.policy, joined.owner, publisher) || !this.#isUnheard(joined, publisher, data)) continue;
      const content = contentOf(data.data);
      const publication = { topic, from: publisher, content, missed: 0, retainedUnixMs: Number(atUnixMs) };
      this.#handOver(topic, joined, {
        ...publication,
        get data() {
          return content.data;
        },
      });
    }
  }

  /** Each gateway sends what is published; what comes twice is known by its id. */
  async #link(topic: string, options: CallOptions, at: At = "each"): Promise<void> {
    const answer = await this.#ports.session.call((request) => ({ case: "subscribe", value: { request, topic } }), {
      at,
      timeoutMs: timeoutOf(options),
      signal: options.signal,
      expected: `the gateway to subscribe this agent to ${topic}`,
    });
    if (answer.case === "subscriptionResult" && answer.value.error)
      throw errorOf(answer.value.error, "CAUSEWAY_TOPIC_NOT_FOUND");
  }

  async #announce(topic: string, policy: agp.TopicPolicy, options: CallOptions, at: At): Promise<void> {
    try {
      await this.#commands.announce(topic, policy, options, at);
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      // Created before by this agent, which alone can: its gateway remembers.
      if (error.code !== "CAUSEWAY_TOPIC_EXISTS" || defaultOwner(topic) !== this.#ports.self) throw error;
    }
  }

  async #unsubscribe(topic: string, joined: Joined, handler: Handler): Promise<void> {
    if (joined.handlers.delete(handler) && joined.handlers.size === 0) await this.#release(topic, joined);
  }

  /** Ends what no handler needs any more. In order with joining: another subscription may have begun meanwhile. */
  #release(topic: string, joined: Joined): Promise<void> {
    return this.#serial.run(`member ${topic}`, async () => {
      if (joined.handlers.size > 0 || this.#joined.get(topic) !== joined) return;
      this.#joined.delete(topic);
      if (!this.#owned.has(topic)) this.#usedAt.delete(topic);
      // An owner goes on hearing its topic, where members say that they leave or renew their keys.
      if (this.#owned.has(topic)) return;
      await this.#attempt(this.#unlink(topic));
      const { endToEnd, messenger } = this.#ports;
      const group = endToEnd.groupByName(topic);
      if (!group) return;
      this.#granted.delete(topic);
      await this.#store();
      const change = await endToEnd.leave(group.groupId);
      const body = { case: "topicLeave", value: create(session.TopicLeaveSchema, { topic }) } as const;
      // The others learn it from the proposal if it leaves, the owner from a message that is repeated until it arrives.
      await this.sendChange(change).catch(() => undefined);
      await this.#attempt(messenger.post(joined.owner, body, { lane: messenger.newLane(), timeoutMs: timeoutOf({}) }));
    });
  }

  /** Without a link there is nothing to end: a gateway forgets subscriptions with the link that they came over. */
  async #unlink(topic: string): Promise<void> {
    const { session: link } = this.#ports;
    if (!link.lease) return;
    await link.call((request) => ({ case: "unsubscribe", value: { request, topic } }), {
      at: "each",
      timeoutMs: timeoutOf({}),
      expected: `the gateway to end the subscription to ${topic}`,
    });
  }

  #handleHandshake(topic: string, opened: Extract<Opened, { kind: "handshake" }>): void {
    if (opened.change === "pending") this.#inBackground(this.maintain());
    if (opened.change !== "removed") return;
    const joined = this.#joined.get(topic);
    if (!joined) return;
    joined.policy = undefined;
    this.#granted.delete(topic);
    this.#ports.onEvent({
      type: "warning",
      error: refuse("CAUSEWAY_TOPIC_NOT_ALLOWED", `the owner of ${topic} has removed this agent from it`),
    });
  }

  /** Publications missed before this one; negative when it was heard before. */
  #missed(joined: Joined, from: AgentId, data: session.TopicData): number {
    const run = toHex(data.run);
    const sequence = Number(data.sequence);
    const before = joined.heard.get(from);
    if (before?.run === run && sequence <= before.sequence) return -1;
    if (!before && joined.heard.size >= publishersMax) return 0;
    const missing = before?.run === run ? before.missing : new Set<number>();
    joined.heard.set(from, { run, sequence, missing });
    if (before?.run !== run) return 0;
    if ((joined.policy?.retained ?? 0) > 0) {
      for (let n = Math.max(before.sequence + 1, sequence - missingMax); n < sequence; n++) missing.add(n);
      for (const oldest of missing) if (missing.size > missingMax) missing.delete(oldest);
    }
    return sequence - before.sequence - 1;
  }

  /** Whether what the owner kept is news, even if something later of its publisher was heard. */
  #isUnheard(joined: Joined, from: AgentId, data: session.TopicData): boolean {
    const before = joined.heard.get(from);
    if (before?.run === toHex(data.run) && before.missing.delete(Number(data.sequence))) return true;
    return this.#missed(joined, from, data) >= 0;
  }

  #handOver(topic: string, joined: Joined, publication: Publication): void {
    for (const handler of joined.handlers) {
      if (handler.waiting >= waitingMax) {
        // A slow handler costs itself publications, and nobody else anything.
        this.#ports.onEvent({ type: "gap", scope: "topic", name: topic, missed: 1, downMs: 0 });
        continue;
      }
      handler.waiting++;
      this.#inBackground(
        this.#serial
          .run(handler.name, async () => {
            if (joined.handlers.has(handler)) await handler.run(publication);
          })
          .catch((thrown: unknown) => {
            throw handlerError(thrown);
          })
          .finally(() => handler.waiting--),
      );
    }
  }

  async #store(): Promise<void> {
    const info =
      (owner: string) =>
      ([topic, policy]: [string, agp.TopicPolicy]) =>
        create(agp.TopicInfoSchema, { topic, owner, policy });
    const topics = [...[...this.#owned].map(info(this.#ports.self)), ...[...this.#granted].map(info(""))];
    await this.#ports.connector.store.put(
      ownedKey,
      toBinary(agp.TopicResultSchema, create(agp.TopicResultSchema, { topics })),
      { durable: true },
    );
  }

  #inBackground(work: Promise<unknown>): void {
    void this.#attempt(work);
  }

  async #attempt(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (thrown) {
      this.#ports.onEvent({ type: "warning", error: CausewayError.from(thrown) });
    }
  }
}

function ownerOf(topic: string, owner: string | undefined): AgentId {
  return owner === undefined ? defaultOwner(topic) : defaultOwner(`${owner}/x`);
}

function notAllowed(agent: AgentId, action: string, topic: string): CausewayError {
  return refuse(
    "CAUSEWAY_TOPIC_NOT_ALLOWED",
    `expected an agent with the right to ${action} ${topic}, got ${shortName(agent)}`,
  );
}

const ownedKey = "sdk/topics";
/** How often one agent may join one topic. */
const joinsMax = 20;
const joinsMs = 600_000;
const ownedMax = 1_000;
const joinedMax = 1_000;
/** Publishers of one topic whose gaps are noticed. */
const publishersMax = 1_024;
/** Publications of one publisher that are remembered as missing. */
const missingMax = 1_024;
/** Publications that wait for one handler. */
const waitingMax = 1_024;
