/**
 * Stands in for every gateway of a test: attaches agents with the gateway side of the attachment machine, routes frames
 * between them, hands out key packages, orders commits and keeps topics. It can lose, repeat, delay and alter messages,
 * and lie about sources.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { nodeCrypto } from "@causeway/adapter-keys";
import { defaultFeatures, GatewayAttachments, type GatewayUse, mailboxFeature } from "@causeway/core-attachment";
import {
  agentOf,
  asInstant,
  asUnixMs,
  CausewayError,
  domainOf,
  parseGatewayUri,
  parseSpiffeId,
  refuse,
  type Scheduler,
} from "@causeway/core-base";
import type { SeededRandom } from "@causeway/core-base/testing";
import type { VerifiedPeer } from "@causeway/core-identity";
import { parseRecordBody } from "@causeway/core-records";
import {
  aap,
  agp,
  asLinkId,
  decodeFrame,
  encodeFrame,
  type FrameBody,
  type FrameInit,
  FrameKind,
  FrameScan,
  HeaderFlag,
  type LinkId,
  scanFrame,
  toErrorDetail,
} from "@causeway/core-wire";
import type { FrameSlice, GatewayLink } from "../connector.ts";
import type { TestIdentity } from "./test-domain.ts";

/** What happens to messages on their way. */
export interface Faults {
  /** Probabilities. */
  readonly loss?: number;
  readonly duplication?: number;
  /** Messages take up to this long and overtake each other. Default 1. */
  readonly delayMs?: number;
}

type Control = Extract<FrameBody, { case: "control" }>["value"];
type ControlAnswer = NonNullable<Extract<FrameInit, { case: "control" }>["value"]["body"]>;

interface HubLink {
  readonly id: LinkId;
  readonly gateway: HubGateway;
  readonly gatewayName: string;
  readonly agent: string;
  /** Name of the attachment, with which several of one agent are told apart. */
  instance: string;
  isAttached: boolean;
  readonly serial: string;
  readonly deliver: (frame: Uint8Array) => void;
  readonly close: (error?: CausewayError) => void;
}

/** One gateway that the hub stands in for, with what it keeps of its agents. */
interface HubGateway {
  readonly name: string;
  readonly machine: GatewayAttachments;
  /** By the name under which an attachment's packages are kept. */
  readonly packages: Map<string, Shelf>;
  readonly topics: Map<string, HubTopic>;
  /** Agents whose records are known here. */
  readonly records: Set<string>;
  /** Types that were asked for last over a link; forgotten with it. */
  readonly watches: Map<HubLink, readonly string[]>;
  cancel: () => void;
}

interface Shelf {
  single: Uint8Array[];
  lastResort: Uint8Array | undefined;
}

interface HubTopic {
  readonly owner: string;
  readonly policy: agp.TopicPolicy | undefined;
}

export class Hub {
  faults: Faults = {};
  /** Sees, changes (returns another frame) or drops (returns undefined) each message frame before it is routed. */
  intercept: (frame: Uint8Array) => Uint8Array | undefined = (frame) => frame;
  /** Every message frame that passed, as a gateway sees it. */
  readonly seen: Uint8Array[] = [];
  /** What agents said is settled: agent, source and message id. */
  readonly mailboxAcks: string[] = [];
  isUp = true;
  /** Gateways that take no links. */
  readonly down = new Set<string>();
  /** What agents are told from their next attachment on. */
  gatewayUse: GatewayUse;
  /** Sent on each new link before anything else. */
  greeting: Uint8Array | undefined;
  /** What a gateway makes of a message that it hands to its agent. */
  alter: (gateway: string, frame: Uint8Array) => Uint8Array = (_, frame) => frame;
  /** By gateway: milliseconds that what it hands to agents comes later. */
  readonly slow = new Map<string, number>();
  /** True: a gateway refuses a request of an agent. `kind` is that of the frame. */
  refuses: (agent: string, gateway: string, kind: string) => boolean = () => false;
  /** True: a gateway takes no notice of a request of an agent, whose link stays. */
  loses: (agent: string, gateway: string, kind: string) => boolean = () => false;
  /** True: the answer to a question of an agent is kept back, until it is called. */
  holdAnswer: (agent: string, answer: () => void) => boolean = () => false;
  /** Called with the kind of each frame of an agent. */
  onFrame: (kind: string) => void = () => undefined;
  /** Called for each heartbeat. */
  onHeartbeat: (agent: string, heartbeat: aap.Heartbeat) => void = () => undefined;
  readonly #gateways = new Map<string, HubGateway>();
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #links = new Map<LinkId, HubLink>();
  readonly #attached = new Map<string, HubLink>();
  /** By the name with the instance. */
  readonly #instances = new Map<string, HubLink>();
  #turn = 0;
  readonly #known = new Set<string>();
  readonly #advertised = new Map<string, { readonly gateway: HubGateway; readonly revision: bigint }[]>();
  readonly #commits = new Map<string, Map<bigint, Uint8Array>>();
  readonly #ackedAt = new Map<string, number>();
  readonly #subscribers = new Map<string, Set<HubLink>>();
  #nextLink = 1;

  constructor(
    gateways: Iterable<TestIdentity>,
    scheduler: Scheduler,
    random: SeededRandom,
    gatewayUse: GatewayUse = "prefer",
  ) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.gatewayUse = gatewayUse;
    const prescribed = (): GatewayUse => this.gatewayUse;
    for (const identity of gateways) {
      const domain = domainOf(identity.spiffeId);
      const name = identity.spiffeId.split("/").at(-1);
      const machine = new GatewayAttachments({
        gatewayId: identity.spiffeId,
        gatewayUri: parseGatewayUri(`https://${name}.${domain}/amsp`),
        signer: () => identity.signer("tls"),
        crypto: nodeCrypto,
        random,
        features: [...defaultFeatures, mailboxFeature],
        get gatewayUse() {
          return prescribed();
        },
      });
      this.#gateways.set(identity.spiffeId, {
        name: identity.spiffeId,
        machine,
        packages: new Map(),
        topics: new Map(),
        records: new Set(),
        watches: new Map(),
        cancel: () => undefined,
      });
    }
  }

  /** Opens a link of an agent. `gateway` is what the agent's side has verified. */
  open(agent: VerifiedPeer, gateway: VerifiedPeer): GatewayLink {
    if (!this.isUp) throw refuse("CAUSEWAY_UNREACHABLE", "the hub is down");
    // One that is not what it claims to be stands in for the right one.
    const owner = this.#gateways.get(gateway.spiffeId) ?? this.#gateways.get(`spiffe://${agent.domain}/gateway/gw`);
    if (!owner || this.down.has(gateway.spiffeId))
      throw refuse("CAUSEWAY_UNREACHABLE", `no gateway serves ${agent.domain}`);
    const id = asLinkId(this.#nextLink++);
    const channelBinding = this.#random.bytes(32);
    let receive: ((frames: readonly FrameSlice[]) => void) | undefined;
    let onClose: (error?: CausewayError) => void = () => undefined;
    let isOpen = true;
    let isPaused = false;
    const waiting: Uint8Array[] = [];
    let onRead: (() => void) | undefined;
    const flush = (): void => {
      while (receive && !isPaused && waiting.length > 0) {
        // Nobody may keep what is not copied: the memory is used again.
        const buffer = Buffer.from(waiting.shift() as Uint8Array);
        receive([{ buffer, start: 0, end: buffer.length }]);
        buffer.fill(0);
      }
      if (waiting.length === 0) onRead?.();
    };
    const end = (error?: CausewayError): void => {
      if (!isOpen) return;
      isOpen = false;
      this.#drop(link);
      const gone = (): void => {
        onRead = undefined;
        this.#soon(() => onClose(error));
      };
      // What came before a proper end is read first.
      if (error || waiting.length === 0) gone();
      else onRead = gone;
    };
    const link: HubLink = {
      id,
      gateway: owner,
      gatewayName: gateway.spiffeId,
      agent: agent.spiffeId,
      instance: "",
      isAttached: false,
      serial: hex(agent.serial),
      deliver: (frame) => {
        if (!isOpen) return;
        waiting.push(frame);
        flush();
      },
      close: end,
    };
    this.#links.set(id, link);
    if (this.greeting) link.deliver(this.greeting);
    this.#step(owner, (machine) => machine.handleLinkUp(this.#scheduler.now(), id, agent, channelBinding));
    return {
      peer: gateway,
      channelBinding,
      send: (frame) => {
        const copy = frame.slice();
        this.#soon(() => {
          if (isOpen) this.#handleFrame(link, copy);
        });
        return isOpen;
      },
      onFrames: (run) => {
        receive = run;
        flush();
      },
      onWritable: () => undefined,
      onClose: (run) => {
        onClose = run;
      },
      pause: () => {
        isPaused = true;
      },
      resume: () => {
        isPaused = false;
        flush();
      },
      // What was sent before still arrives.
      close: () => this.#soon(() => end()),
    };
  }

  /** Every gateway that an agent watches, or one of them, tells it of an event, whatever types it asked for. */
  tell(agent: string, type: string, subject: string, gateway?: string): void {
    const value = { type, subject, atUnixMs: 1n, cause: "a test" };
    for (const { name, watches } of this.#gateways.values()) {
      if (gateway !== undefined && gateway !== name) continue;
      for (const link of watches.keys()) if (link.agent === agent) link.deliver(encodeFrame({ case: "event", value }));
    }
  }

  /** What an agent watches at one gateway. */
  watchAt(agent: string, gateway: string): readonly string[] {
    const watches = [...(this.#gateways.get(gateway)?.watches ?? [])];
    return watches.find(([link]) => link.agent === agent)?.[1] ?? [];
  }

  /** Breaks the link of one agent. */
  cut(agent: string): void {
    this.#attached.get(agent)?.close(refuse("CAUSEWAY_UNREACHABLE", "the link was cut"));
  }

  /** One gateway goes without a word, and takes no links. */
  kill(gateway: string): void {
    this.down.add(gateway);
    const owner = this.#gateways.get(gateway);
    for (const link of [...this.#links.values()])
      if (link.gateway === owner) link.close(refuse("CAUSEWAY_UNREACHABLE", "the gateway went down"));
  }

  /** One gateway asks its agents to move. */
  drain(gateway: string, reason: string): void {
    const owner = this.#gateways.get(gateway);
    const now = this.#scheduler.now();
    if (owner) this.#step(owner, (machine) => machine.startDraining(now, asUnixMs(now.unix + 30_000), reason));
  }

  /** Attachments of an agent, by the names of their gateways. */
  gatewaysOf(agent: string): readonly string[] {
    return [...this.#gateways].flatMap(([name, { machine }]) =>
      machine.attachments().some((each) => each.agentId === agent && each.state === "attached") ? [name] : [],
    );
  }

  /** Messages for an agent that is at several gateways come by this one from now on. */
  deliverBy(agent: string, gateway: string): void {
    const owner = this.#gateways.get(gateway);
    for (const link of this.#links.values())
      if (link.agent === agent && link.gateway === owner && link.isAttached) this.#attached.set(agent, link);
    this.#instances.delete(`${agent}/@main`);
  }

  /** How many messages agents have said are settled, to one gateway. */
  mailboxAcksAt(gateway: string): number {
    return this.#ackedAt.get(gateway) ?? 0;
  }

  /** Breaks every link. */
  cutAll(): void {
    for (const link of [...this.#links.values()]) link.close(refuse("CAUSEWAY_UNREACHABLE", "the hub went down"));
  }

  isAttached(agent: string): boolean {
    return this.#attached.has(agent);
  }

  /** Unused single-use key packages of an agent, at the gateway that serves it or at another. */
  packagesOf(agent: string, gateway?: string): number {
    const at = gateway === undefined ? this.#attached.get(agent)?.gateway : this.#gateways.get(gateway);
    return at?.packages.get(agent)?.single.length ?? 0;
  }

  /** Topics of an agent that one gateway keeps. */
  topicsAt(agent: string, gateway: string): readonly string[] {
    const topics = [...(this.#gateways.get(gateway)?.topics ?? [])];
    return topics.flatMap(([topic, { owner }]) => (owner === agent ? [topic] : []));
  }

  /** Says of a message that it is stored, in the name of a gateway. */
  claimStored(header: agp.RoutingHeader, gateway: string): void {
    const { source, messageId, target } = header;
    const report = { messageId, target, reporter: gateway, fate: agp.Fate.STORED };
    this.#answer(source, messageId, { case: "deliveryReport", value: report }, gateway);
  }

  /** Hands out one agent's key packages as those of another. */
  swapPackages(of: string, by: string): void {
    const shelf = this.#shelfOf(by, undefined);
    for (const { packages } of this.#gateways.values()) if (shelf && packages.has(of)) packages.set(of, shelf);
  }

  /** Uses up every single-use key package of an agent, as a crowd of others would. */
  drainPackages(of: string): void {
    for (const { packages } of this.#gateways.values()) {
      const shelf = packages.get(of);
      if (shelf) shelf.single.length = 0;
    }
  }

  /** Revisions of the records that an agent has advertised, oldest first: all of them, or those at one gateway. */
  advertisedBy(agent: string, at?: string): readonly bigint[] {
    const advertised = this.#advertised.get(agent) ?? [];
    return advertised.flatMap(({ gateway, revision }) => (at === undefined || at === gateway.name ? [revision] : []));
  }

  /** Gateways that know the record of an agent. */
  recordsOf(agent: string): readonly string[] {
    return [...this.#gateways.values()].flatMap(({ name, records }) => (records.has(agent) ? [name] : []));
  }

  /** Serial number of the certificate with which an agent is attached, hex. */
  serialOf(agent: string): string | undefined {
    return this.#attached.get(agent)?.serial;
  }

  /** A topic goes, as one that nobody used for its time. */
  expire(topic: string): void {
    for (const { topics } of this.#gateways.values()) topics.delete(topic);
  }

  /** Over all gateways, or at one. */
  subscribersOf(topic: string, gateway?: string): readonly string[] {
    const links = [...(this.#subscribers.get(topic) ?? [])];
    return [
      ...new Set(links.flatMap((link) => (gateway === undefined || gateway === link.gateway.name ? [link.agent] : []))),
    ];
  }

  /** Puts a frame on an agent's link as if it had been routed. */
  inject(agent: string, frame: Uint8Array): void {
    this.#attached.get(agent)?.deliver(frame);
  }

  #drop(link: HubLink): void {
    this.#links.delete(link.id);
    this.#forget(link);
    this.#step(link.gateway, (machine) => machine.handleLinkDown(this.#scheduler.now(), link.id));
  }

  /** Nothing is delivered over this link any more. */
  #forget(link: HubLink): void {
    link.isAttached = false;
    const name = `${link.agent}/@${link.instance}`;
    if (this.#instances.get(name) === link) this.#instances.delete(name);
    if (this.#attached.get(link.agent) === link) {
      const left = [...this.#links.values()].filter(({ agent, isAttached }) => agent === link.agent && isAttached);
      const other = left.at(-1);
      if (other) this.#attached.set(link.agent, other);
      else this.#attached.delete(link.agent);
    }
    for (const members of this.#subscribers.values()) members.delete(link);
    link.gateway.watches.delete(link);
  }

  /** What some gateway that is up knows of a topic. */
  #topicOf(topic: string): HubTopic | undefined {
    for (const { name, topics } of this.#gateways.values()) {
      const known = this.down.has(name) ? undefined : topics.get(topic);
      if (known) return known;
    }
    return undefined;
  }

  /** What the gateway that serves an agent has of its key packages; of one that is away, what any gateway has. */
  #shelfOf(agent: string, link: HubLink | undefined): Shelf | undefined {
    if (link) return link.gateway.packages.get(holderOf(link));
    for (const { name, packages } of this.#gateways.values()) {
      const shelf = this.down.has(name) ? undefined : packages.get(agent);
      if (shelf) return shelf;
    }
    return undefined;
  }

  #step(gateway: HubGateway, input: (machine: GatewayAttachments) => void): void {
    const { machine } = gateway;
    input(machine);
    for (let effects = machine.drain(); effects.length > 0; effects = machine.drain()) {
      for (const effect of effects) {
        if (effect.kind === "send") this.#links.get(effect.link)?.deliver(effect.frame);
        else if (effect.kind === "close")
          this.#links.get(effect.link)?.close(effect.error && new CausewayError(effect.error));
        else if (effect.kind === "install") {
          const link = this.#links.get(effect.attachment.link);
          if (link) {
            link.instance = effect.attachment.instance;
            link.isAttached = true;
            this.#attached.set(link.agent, link);
            this.#instances.set(`${link.agent}/@${link.instance}`, link);
          }
          this.#known.add(effect.attachment.agentId);
        } else if (effect.kind === "remove") {
          const link = this.#links.get(effect.attachment.link);
          if (link) this.#forget(link);
        }
      }
    }
    gateway.cancel();
    const deadline = machine.deadline();
    if (deadline === undefined) return;
    gateway.cancel = this.#scheduler.at(deadline, () =>
      this.#step(gateway, () => machine.handleTimeout(this.#scheduler.now())),
    );
  }

  #handleFrame(link: HubLink, frame: Uint8Array): void {
    const scan = new FrameScan();
    if (scanFrame(frame, 0, frame.length, scan) !== undefined)
      throw new Error("the SDK sent a frame that does not scan");
    const now = this.#scheduler.now();
    this.onFrame(kindNames.get(scan.kind) ?? "unknown");
    this.#step(link.gateway, (machine) => machine.handleTraffic(now, link.id));
    switch (scan.kind) {
      case FrameKind.attachHello:
        this.#step(link.gateway, (machine) => machine.handleHello(now, link.id, scan.body()));
        return;
      case FrameKind.attachProof:
        this.#step(link.gateway, (machine) =>
          machine.handleProof(now, link.id, fromBinary(aap.AttachProofSchema, scan.body())),
        );
        return;
      case FrameKind.heartbeat: {
        const heartbeat = fromBinary(aap.HeartbeatSchema, scan.body());
        this.onHeartbeat(link.agent, heartbeat);
        this.#step(link.gateway, (machine) => machine.handleHeartbeat(now, link.id, heartbeat));
        return;
      }
      case FrameKind.sessionEnd:
        this.#step(link.gateway, (machine) =>
          machine.handleSessionEnd(now, link.id, fromBinary(aap.SessionEndSchema, scan.body())),
        );
        return;
      case FrameKind.message:
        if (scan.source() !== link.agent && scan.source() !== `${link.agent}/@${link.instance}`)
          throw new Error("the SDK sent another agent's name as source");
        this.seen.push(frame);
        this.#route(frame);
        return;
      default:
        this.#handleBody(link, decodeFrame(frame));
    }
  }

  #route(original: Uint8Array): void {
    const frame = this.intercept(original);
    if (!frame) return;
    const body = decodeFrame(frame);
    if (body.case !== "message" || !body.value.header) return;
    const { target, targetKind, source, messageId, flags } = body.value.header;
    if (flags & HeaderFlag.accepted) this.#reportFate(source, messageId, target, agp.Fate.ACCEPTED);
    if (flags & HeaderFlag.stored) this.#reportFate(source, messageId, target, agp.Fate.STORED);
    if (targetKind === agp.TargetKind.TOPIC) {
      for (const member of this.#membersOf(target)) {
        if (member.agent === source) continue;
        const deliver = (): void => this.#deliverOver(() => member, this.alter(member.gateway.name, frame));
        const slowMs = this.slow.get(member.gateway.name);
        if (slowMs === undefined) deliver();
        else this.#after(slowMs, deliver);
      }
      return;
    }
    if (this.#linkOf(target)) {
      this.#deliver(target, frame);
      return;
    }
    if (this.#known.has(target)) {
      const error = refuse("CAUSEWAY_FORWARDING_NOT_ATTACHED", `${target} is not attached now`);
      this.#report(source, messageId, target, error);
    } else this.#reportUnknown(source, messageId, target);
  }

  #reportFate(source: string, messageId: Uint8Array, target: string, fate: agp.Fate): void {
    const gateway = `spiffe://${domainOf(parseSpiffeId(fate === agp.Fate.ACCEPTED ? source : target))}/gateway/gw`;
    const report = { messageId, target, reporter: gateway, fate };
    this.#answer(source, messageId, { case: "deliveryReport", value: report }, gateway);
  }

  #reportUnknown(source: string, messageId: Uint8Array, target: string): void {
    this.#report(source, messageId, target, refuse("CAUSEWAY_FORWARDING_NO_ROUTE", `no gateway knows ${target}`));
  }

  #report(source: string, messageId: Uint8Array, target: string, error: CausewayError): void {
    this.#answer(source, messageId, {
      case: "deliveryReport",
      value: { messageId, target, reporter: "hub", error: toErrorDetail(error) },
    });
  }

  #deliver(agent: string, frame: Uint8Array): void {
    this.#deliverOver(() => this.#linkOf(agent), frame);
  }

  #deliverOver(link: () => HubLink | undefined, frame: Uint8Array): void {
    const { loss = 0, duplication = 0, delayMs = 1 } = this.faults;
    const copies = this.#random.fraction() < duplication ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.#random.fraction() < loss) continue;
      this.#after(delayMs === 1 ? 1 : 1 + this.#random.below(delayMs), () => link()?.deliver(frame));
    }
  }

  /** An instance that is named, or the one that attached last. */
  #linkOf(name: string): HubLink | undefined {
    return this.#instances.get(name) ?? this.#attached.get(name);
  }

  #instancesOf(agent: string): HubLink[] {
    return [...this.#instances.values()].filter((link) => link.agent === agent);
  }

  #handleBody(link: HubLink, body: FrameBody): void {
    const send = (answer: FrameInit): void => link.deliver(encodeFrame(answer));
    const { case: kind = "" } = body;
    if (this.loses(link.agent, link.gateway.name, kind)) return;
    switch (body.case) {
      case "control":
        this.#handleControl(link, body.value);
        return;
      case "keyPackageUpload": {
        const holder = holderOf(link);
        const { packages } = link.gateway;
        const shelf = packages.get(holder) ?? { single: [], lastResort: undefined };
        if (body.value.replace) shelf.single.length = 0;
        shelf.single.push(...body.value.keyPackages);
        if (body.value.lastResort.length > 0) shelf.lastResort = body.value.lastResort;
        packages.set(holder, shelf);
        send({ case: "keyPackageUploadResult", value: { request: body.value.request, stored: shelf.single.length } });
        return;
      }
      case "subscribe": {
        const topic = this.#topicOf(body.value.topic);
        const isRefused = this.refuses(link.agent, link.gateway.name, kind);
        if (!isRefused && (topic || body.value.topic.endsWith("/*"))) {
          const members = this.#subscribers.get(body.value.topic) ?? new Set();
          this.#subscribers.set(body.value.topic, members.add(link));
        }
        const error = isRefused
          ? toErrorDetail(refuse("CAUSEWAY_INTERNAL", "a test has this refused"))
          : topic || body.value.topic.endsWith("/*")
            ? undefined
            : toErrorDetail(refuse("CAUSEWAY_TOPIC_NOT_FOUND", `no topic ${body.value.topic}`));
        send({ case: "subscriptionResult", value: { request: body.value.request, ...(error && { error }) } });
        return;
      }
      case "mailboxAck":
        for (const { source, messageIds, error } of body.value.entries)
          for (const id of messageIds) {
            this.#ackedAt.set(link.gatewayName, this.mailboxAcksAt(link.gatewayName) + 1);
            this.mailboxAcks.push([link.agent, source, hex(id), ...(error ? [error.code] : [])].join(" "));
          }
        return;
      case "unsubscribe":
        this.#subscribers.get(body.value.topic)?.delete(link);
        send({ case: "subscriptionResult", value: { request: body.value.request } });
        return;
      case "eventWatch":
        if (body.value.types.length > 0) link.gateway.watches.set(link, body.value.types);
        else link.gateway.watches.delete(link);
        send({ case: "subscriptionResult", value: { request: body.value.request } });
        return;
      case "topicCommand":
        this.#handleTopicCommand(link, body.value);
        return;
      case "advertise":
        if (body.value.withdraw) link.gateway.records.delete(link.agent);
        if (body.value.record) {
          link.gateway.records.add(link.agent);
          const advertised = this.#advertised.get(link.agent) ?? [];
          const { revision } = parseRecordBody(body.value.record.body);
          this.#advertised.set(link.agent, [...advertised, { gateway: link.gateway, revision }]);
        }
        send({ case: "advertiseResult", value: { request: body.value.request, epoch: 1n, sequence: 1n } });
        return;
      // The hub holds nothing back.
      case "credit":
        return;
      default:
        throw new Error(`the SDK sent an unexpected ${body.case}`);
    }
  }

  /** Who subscribed to the topic, or to a pattern that covers it. */
  #membersOf(topic: string): ReadonlySet<HubLink> {
    const patterns = [...this.#subscribers.keys()].filter((each) => each.endsWith("/*"));
    const covering = patterns.filter((each) => topic.startsWith(each.slice(0, -1)));
    return new Set([topic, ...covering].flatMap((each) => [...(this.#subscribers.get(each) ?? [])]));
  }

  #handleTopicCommand(link: HubLink, { request, command }: agp.TopicCommand): void {
    const value = { request, ...this.#serveTopics(link.agent, link.gateway, command) };
    link.deliver(encodeFrame({ case: "topicResult", value }));
  }

  #serveTopics(caller: string, { topics }: HubGateway, command: agp.TopicCommand["command"]) {
    const info = (topic: string) => ({ topic, ...topics.get(topic), createdUnixMs: 1n });
    if (command.case === "list") {
      const { prefix } = command.value;
      return { topics: [...topics.keys()].filter((each) => each.startsWith(`${prefix}/`)).map(info) };
    }
    const topic = command.value?.topic ?? "";
    const known = topics.get(topic);
    const missing = { error: toErrorDetail(refuse("CAUSEWAY_TOPIC_NOT_FOUND", `no topic ${topic}`)) };
    switch (command.case) {
      case "create":
        if (known && known.owner !== caller)
          return { error: toErrorDetail(refuse("CAUSEWAY_TOPIC_EXISTS", `${topic} exists`)) };
        topics.set(topic, { owner: caller, policy: command.value.policy });
        return { topics: [info(topic)] };
      case "describe":
        return known ? { topics: [info(topic)] } : missing;
      case "delete": {
        if (known?.owner !== caller) return missing;
        const gone = info(topic);
        topics.delete(topic);
        return { topics: [gone] };
      }
      default:
        throw new Error(`the SDK sent an unexpected topic command ${command.case}`);
    }
  }

  #handleControl(link: HubLink, control: Control): void {
    const { header, requestId, body } = control;
    if (!header) return;
    const answer = (value: ControlAnswer): void => this.#answer(header.source, requestId, value);
    switch (body.case) {
      case "keyPackageFetch": {
        const agent = agentOf(parseSpiffeId(header.target));
        const among = this.#instancesOf(agent);
        const chosen = this.#instances.get(header.target) ?? among[this.#turn++ % Math.max(1, among.length)];
        const shelf = this.#shelfOf(agent, chosen);
        const owner = chosen && among.length > 1 ? `${agent}/@${chosen.instance}` : agent;
        if (!this.#known.has(agent)) {
          this.#reportUnknown(link.agent, header.messageId, header.target);
          return;
        }
        const single = shelf?.single.shift();
        const keyPackage = single ?? shelf?.lastResort;
        const missing = toErrorDetail(refuse("CAUSEWAY_E2EE_NO_KEY_PACKAGE", `${header.target} has none left`));
        answer({
          case: "keyPackageResult",
          value: keyPackage ? { keyPackage, lastResort: single === undefined, owner } : { error: missing },
        });
        return;
      }
      case "commitSubmit": {
        const { groupId, epoch, commit } = body.value;
        const log = this.#commits.get(hex(groupId)) ?? new Map<bigint, Uint8Array>();
        this.#commits.set(hex(groupId), log);
        const winner = log.get(epoch);
        if (!winner) log.set(epoch, commit);
        answer({ case: "commitResult", value: winner ? { accepted: false, winner } : { accepted: true } });
        return;
      }
      case "handshakeFetch": {
        const log = this.#commits.get(hex(body.value.groupId));
        const commits: Uint8Array[] = [];
        for (let epoch = body.value.fromEpoch; log?.has(epoch); epoch++) commits.push(log.get(epoch) as Uint8Array);
        answer({ case: "handshakeResult", value: { commits } });
        return;
      }
      case "deliveryReport":
        this.#deliver(header.target, encodeFrame({ case: "control", value: control }));
        return;
      case "topicCommand": {
        const serving = this.#attached.get(header.target)?.gateway;
        if (serving) answer({ case: "topicResult", value: this.#serveTopics(link.agent, serving, body.value.command) });
        else this.#reportUnknown(link.agent, header.messageId, header.target);
        return;
      }
      default:
        throw new Error(`the SDK sent an unexpected control ${body.case}`);
    }
  }

  #answer(agent: string, requestId: Uint8Array, body: ControlAnswer, source?: string): void {
    const frame = encodeFrame({
      case: "control",
      value: {
        header: {
          version: 1,
          hopTtl: 16,
          targetKind: agp.TargetKind.AGENT,
          target: agent,
          source: source ?? "spiffe://hub.example/gateway/hub",
          messageId: this.#random.bytes(16),
        },
        requestId,
        body,
      },
    });
    const deliver = (): void => this.#linkOf(agent)?.deliver(frame);
    this.#after(1, () => {
      if (!this.holdAnswer(agent, deliver)) deliver();
    });
  }

  #soon(run: () => void): void {
    this.#after(1, run);
  }

  #after(ms: number, run: () => void): void {
    this.#scheduler.at(asInstant(this.#scheduler.now().instant + ms), run);
  }
}

/** Under which name an attachment's key packages are kept. */
const holderOf = ({ agent, instance }: HubLink): string => (instance === "main" ? agent : `${agent}/@${instance}`);

const kindNames = new Map<number, string>(Object.entries(FrameKind).map(([name, kind]) => [kind, name]));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
