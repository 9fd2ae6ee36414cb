/** The public interface of an agent: names, data and errors; no cryptography, no frames. */
import type { GatewayUse } from "@causeway/core-attachment";
import type { AgentId, CausewayError, GatewayUri, SpiffeId } from "@causeway/core-base";
import type { Metadata } from "@causeway/core-session";
import type { ConnectRouter, Interceptor, Transport } from "@connectrpc/connect";
import type { Content, Data } from "./content.ts";

/** Bounds of one call. */
export interface CallOptions {
  /** Milliseconds until the call fails with `CAUSEWAY_TIMEOUT`. Default 30,000; at most 86,400,000. */
  readonly timeoutMs?: number;
  /** Ends the call with `CAUSEWAY_CANCELLED`. */
  readonly signal?: AbortSignal;
  /** Asks the gateways on the way to keep a hop record for `causeway explain`. */
  readonly trace?: boolean;
}

/**
 * `interactive`: at once. `bulk`: behind everything interactive on every link, with a share of its own, so that it arrives
 * when there is room. Order is kept within a priority, not between them.
 */
export type Priority = "interactive" | "bulk";

/** Bounds and priority of what is sent to an agent. */
export interface MessageOptions extends CallOptions {
  /** Default `interactive`. Answers have the priority of their request. */
  readonly priority?: Priority;
}

/** What a requester asks for. */
export interface Ask {
  /** Name of the handler at the other side. Default: its handler without a name. */
  readonly method?: string;
  readonly data?: Data;
  /** Facts beside the data, for example of a bridged protocol. At most 64 entries. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The answer to a request: its last part as content, and all parts in order. */
export interface Answer {
  readonly from: AgentId;
  readonly content: Content;
  /** `content.data`: parsed JSON, string or bytes. */
  readonly data: Content["data"];
  readonly parts: readonly Content[];
  /** Id of the request message, as `causeway explain` takes it. */
  readonly messageId: string;
}

/** A message as its receiver sees it. */
export interface IncomingMessage {
  /** The sender, as its verified MLS certificate names it. */
  readonly from: AgentId;
  readonly content: Content;
  readonly data: Content["data"];
  readonly messageId: string;
}

/** A request as its handler sees it. */
export interface IncomingRequest extends IncomingMessage {
  readonly method: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Aborts when the requester cancels, times out, or this agent closes. */
  readonly signal: AbortSignal;
}

/** Answers to one request, as an alternative to returning or yielding them. */
export interface Reply {
  /** Sends one part. Resolves when there is room for the next one. */
  send(data: Data): Promise<void>;
  /** Sends the last part, or none, and ends the answer. */
  end(data?: Data): Promise<void>;
  /** Ends the answer with an error. */
  fail(error: CausewayError): Promise<void>;
}

/**
 * Handles requests: returns one answer, or is an async generator whose values become a stream of answers, or uses
 * `reply`. What it throws reaches the requester: a `CausewayError` with its own code, anything else as
 * `CAUSEWAY_AGENT_HANDLER_FAILED` with the message of the error.
 */
export type RequestHandler = (
  request: IncomingRequest,
  reply: Reply,
) => Promise<Data | undefined | void> | Data | undefined | void | AsyncIterable<Data>;

/**
 * Takes messages of one sender one at a time and in order; the sender is told when it returned. Each message comes once,
 * also after a restart, unless the process ends between the return of the handler and the moment at which that is
 * stored: then it comes again, with the same `messageId`.
 */
export type MessageHandler = (message: IncomingMessage) => Promise<void> | void;

/** Options of `register`. */
export interface RegisterOptions extends CallOptions {
  /**
   * Milliseconds for which the agent stays known, and its gateway stores reliable messages for it, after it has lost its
   * gateway or closed with `away`. Default 86,400,000; 0 for not at all. The gateway caps it.
   */
  readonly awayMs?: number;
}

/** Options of `close`. */
export interface CloseOptions {
  /** The agent comes back: its gateway collects messages for it meanwhile. Default false: it is withdrawn at once. */
  readonly away?: boolean;
}

/** How an agent hears that a message has come as far as it asked for. */
export interface SendOptions extends MessageOptions {
  /**
   * `reliable`: repeated until acknowledged, in order, once. `best-effort`: sent once, without order. Default `reliable`.
   */
  readonly mode?: "best-effort" | "reliable";
  /**
   * What `send` waits for. `accepted`: the own gateway passed it on. `stored`: it is on the disk of the gateway that
   * serves the target, and survives everything until it expires. `delivered`: the other SDK has it. `processed`: its
   * handler took it. Default `processed`; of a best-effort message, that it left this process, and only `accepted` can be
   * asked for.
   */
  readonly ack?: "accepted" | "stored" | "delivered" | "processed";
  /** Messages of one session and priority are taken in order; different sessions do not wait for each other. Default: one session. */
  readonly session?: string;
  /**
   * Milliseconds after which nobody needs the message any more: gateways and the receiver then drop it. Default
   * `timeoutMs`; for `stored` 86,400,000. At most 604,800,000.
   */
  readonly expiresMs?: number;
}

/** How far a message was known to have come when `send` resolved. */
export interface Receipt {
  readonly messageId: string;
  readonly reached: "sent" | "accepted" | "stored" | "delivered" | "processed";
}

/** Names and values in order; names may repeat. */
export type { Metadata } from "@causeway/core-session";

/** Options of `openStream`. */
export interface StreamOptions {
  /** Of both directions. Default `interactive`. */
  readonly priority?: Priority;
  /** What the stream is for; the other side has a handler for this name or a default one. Default "". */
  readonly name?: string;
  readonly metadata?: Metadata;
  /** Milliseconds after which both sides reset it with `CAUSEWAY_TIMEOUT`. Default: none. */
  readonly timeoutMs?: number;
  /** Resets the stream. */
  readonly signal?: AbortSignal;
}

/**
 * A full-duplex stream of bytes to another agent, encrypted end to end. Iterating yields what comes, in order; boundaries
 * between pieces mean nothing. A side that does not read holds back the other side of this stream and nobody else.
 */
export interface AgentStream extends AsyncIterable<Uint8Array>, AsyncDisposable {
  /** The other side, as its verified certificate names it. */
  readonly peer: AgentId;
  readonly name: string;
  /** Of the opening side. */
  readonly metadata: Metadata;
  /** Of the accepting side; empty when its data came without. Rejects when the stream is reset before. */
  readonly header: Promise<Metadata>;
  /** Of the other side's end. Rejects when the stream is reset before. */
  readonly trailer: Promise<Metadata>;
  /** Resolves when both sides have ended; rejects when the stream was reset. */
  readonly closed: Promise<void>;
  /** Aborts when the stream was reset, with the error as reason. */
  readonly signal: AbortSignal;
  /** Sends metadata before the first data, once. */
  sendHeader(metadata: Metadata): void;
  /** Sends bytes. Resolves when there is room for more. */
  write(bytes: Uint8Array): Promise<void>;
  /** Half-closes: this side sends nothing more and still hears the other one. */
  end(metadata?: Metadata): Promise<void>;
  /** Gives up both directions. What was not read yet is lost on both sides. */
  reset(error?: CausewayError): void;
}

/** Handles streams that others open. What it throws resets the stream. */
export type StreamHandler = (stream: AgentStream) => Promise<void> | void;

/** Options of `transportTo`. */
export interface TransportOptions {
  /** Of all calls, both ways. Default `interactive`. */
  readonly priority?: Priority;
  /** Connect's interceptors. */
  readonly interceptors?: readonly Interceptor[];
  /** Default deadline of calls in milliseconds. Default: none. */
  readonly timeoutMs?: number;
  /** Largest message of a call, either way. Default 16,777,216. */
  readonly messageBytesMax?: number;
}

/** What `requestMany` collected. */
export interface ManyAnswers {
  /** In the order in which they came. */
  readonly answers: readonly Answer[];
  /** Those who gave none, and why: also `CAUSEWAY_TIMEOUT`, when the outcome is unknown. */
  readonly failures: readonly { readonly agent: AgentId; readonly error: CausewayError }[];
  /** True when every target answered. */
  readonly isComplete: boolean;
}

/** What is needed of an agent: plain words, or filters of discovery. */
export type Capability =
  | string
  | (Pick<DiscoverOptions, "skills" | "tags" | "protocols" | "languages" | "domains"> & { readonly text?: string });

/** An answer of an agent that was found by what it can do. */
export interface CapabilityAnswer {
  readonly answer: Answer;
  readonly chosen: Match;
  /** Better matches that could not be reached. */
  readonly passedOver: readonly { readonly match: Match; readonly error: CausewayError }[];
}

/** Options of `requestMany`. */
export interface ManyOptions extends MessageOptions {
  /** Enough answers: what is still under way then is cancelled. Default: all. */
  readonly enough?: number;
  /** Requests under way at once. Default 64, at most 1,024. */
  readonly concurrency?: number;
  /** Called for each answer as it comes. */
  readonly onAnswer?: (answer: Answer) => void;
}

/** One publication. */
export interface Publication {
  readonly topic: string;
  readonly from: AgentId;
  readonly content: Content;
  readonly data: Content["data"];
  /** Publications of this publisher that were missed just before this one. */
  readonly missed: number;
  /** When the topic's owner got it, in unix milliseconds: it was published before this agent came (`retained`). */
  readonly retainedUnixMs?: number;
}

export type PublicationHandler = (publication: Publication) => Promise<void> | void;

/** A running subscription. */
export interface Subscription extends AsyncDisposable {
  readonly topic: string;
  close(): Promise<void>;
}

/** Something that happened at the gateway of this agent, and concerns it (AGP-11). */
export interface NetworkEvent {
  /** For example agent.attached, topic.deleted, peer.down, delivery.failed, credential.revoked. */
  readonly type: string;
  readonly atUnixMs: number;
  /** The agent, topic, domain or message (32 hexadecimal digits) that it happened to. */
  readonly subject: string;
  readonly cause: string;
  /** Events before this one that were left out because there were too many. */
  readonly missed: number;
}

export type NetworkEventListener = (event: NetworkEvent) => void;

/** A running watch of events. */
export interface Watch extends AsyncDisposable {
  readonly types: readonly string[];
  close(): Promise<void>;
}

/** Who may use a topic: names, or prefixes that end in '/'. */
export interface TopicRights {
  /** Of all publications, whose order is one. Default `interactive`. */
  readonly priority?: Priority;
  /** Default: every agent of the owner's domain. */
  readonly publishers?: readonly string[];
  /** Default: every trusted agent. */
  readonly subscribers?: readonly string[];
  /** Milliseconds without use after which the topic goes. Default 0: never. */
  readonly idleExpiryMs?: number;
  /**
   * What happens to a subscriber that reads too slowly: its oldest message is dropped, its publishers wait, or it is
   * disconnected. Publishers and owner are told what is lost. Default "drop-oldest".
   */
  readonly overflow?: "drop-oldest" | "block" | "disconnect";
  /** Last publications that the owner keeps for those who subscribe later: 0 to 100, 1 MiB in all. Default 0. */
  readonly retained?: number;
  /** How long it keeps them, in milliseconds. Default 0: as long as it runs. */
  readonly retainedMs?: number;
}

/** A topic as the gateway of its owner keeps it. */
export interface TopicDescription {
  readonly topic: string;
  readonly owner: AgentId;
  readonly rights: Required<TopicRights>;
  readonly createdUnixMs: number;
}

/** One thing that an agent can do. */
export interface Skill {
  readonly id: string;
  readonly name?: string;
  readonly description: string;
  readonly tags?: readonly string[];
  readonly examples?: readonly string[];
}

/** What an agent says of itself; becomes an A2A AgentCard inside a signed record. */
export interface AgentProfile {
  readonly name: string;
  readonly description: string;
  readonly version: string;
  readonly skills: readonly Skill[];
  /** BCP 47 codes. */
  readonly languages?: readonly string[];
  readonly tags?: readonly string[];
  /** Default `["agp/1"]`. */
  readonly protocols?: readonly string[];
  readonly channels?: readonly string[];
  /** Domains that may use the agent; default every trusted one. */
  readonly allowedDomains?: readonly string[];
  /** Domains that may see the record; default every trusted one. */
  readonly visibleDomains?: readonly string[];
}

/** The same with a finished AgentCard, whose bytes are kept as they are. */
export interface CardProfile extends Omit<AgentProfile, "name" | "description" | "version" | "skills"> {
  readonly card: Uint8Array | string;
}

/** A registration at the domain's registry. */
export interface Registration {
  readonly resourceId: string;
  readonly revision: number;
}

/** What to look for. All set conditions must hold; `text` ranks. */
export interface DiscoverOptions {
  readonly skills?: readonly string[];
  readonly tags?: readonly string[];
  readonly protocols?: readonly string[];
  readonly languages?: readonly string[];
  readonly domains?: readonly string[];
  /** Default online and degraded. */
  readonly statuses?: readonly AgentStatusName[];
  /** 1 to 100. Default 10. */
  readonly limit?: number;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export type AgentStatusName = "unknown" | "online" | "degraded" | "offline" | "deregistered";

/** One agent that was found. */
export interface Match {
  readonly agentId: AgentId;
  /** 0 to 1. */
  readonly score: number;
  /** In words. */
  readonly why: string;
  /** True when the agent belongs to this agent's domain. */
  readonly local: boolean;
  readonly status: AgentStatusName;
  /**
   * Through which gateway the agent is reached, a hint: of this domain the serving one; of another domain this agent's own,
   * or the border gateway of the other domain, as the operator chose.
   */
  readonly gateway: GatewayUri | undefined;
  /** Gateways that the record came along, newest first; empty for an agent of another domain. */
  readonly path: readonly string[];
  /** The AgentCard as parsed JSON. */
  readonly card: { readonly name?: string; readonly description?: string; readonly [key: string]: unknown };
  /** The AgentCard's exact bytes. */
  readonly cardBytes: Uint8Array;
  readonly freshUnixMs: number;
}

/** Matches, best first; the array also says why others are missing. */
export interface Discovery {
  readonly matches: readonly Match[];
  readonly notes: readonly string[];
  readonly considered: number;
}

/** What happens to an agent beside its calls. */
export type AgentEvent =
  /** One more gateway delivers to this agent: the first, another one, or the one that it moves to. */
  | { readonly type: "attached"; readonly gateway: string; readonly leaseMs: number }
  /** No gateway is left. */
  | { readonly type: "detached"; readonly error: CausewayError }
  | { readonly type: "reconnecting"; readonly attempt: number; readonly inMs: number }
  /** Messages may be missing: the link was down, or a publication was lost. */
  | {
      readonly type: "gap";
      readonly scope: "link" | "topic";
      readonly name: string;
      readonly missed: number;
      readonly downMs: number;
    }
  | { readonly type: "draining"; readonly reason: string }
  | { readonly type: "renewed" }
  /** Something from outside was refused: a forged sender, a revoked peer, bytes that do not decrypt. */
  | { readonly type: "security"; readonly peer: string; readonly error: CausewayError }
  | { readonly type: "warning"; readonly error: CausewayError }
  | { readonly type: "closed" };

/** How the gateway was found, and what was not used on the way. */
export interface DiscoveryReport {
  /** The gateway of the attachment, or of the last one; undefined before the first. */
  readonly chosen:
    | {
        /** `static`, `anycast`, `dns`, `dhcp` or `directory`. */
        readonly method: string;
        readonly endpoint: string;
        /** In words. */
        readonly reason: string;
      }
    | undefined;
  /** Methods and gateways of the last round that led to no attachment. */
  readonly passedOver: readonly { readonly method: string; readonly endpoint: string; readonly why: string }[];
}

/** Direct links with agents of the own domain. */
export interface DirectReport {
  /** What agent and domain agree on; `none` when they exclude each other. */
  readonly gatewayUse: GatewayUse | "none";
  /** Where this agent takes direct links; undefined while it does not. */
  readonly listening: string | undefined;
  /** Agents whose address is known. */
  readonly known: number;
  readonly links: readonly { readonly peer: SpiffeId; readonly dialled: boolean; readonly sinceUnixMs: number }[];
}

/** One attachment of an agent. */
export interface AttachmentReport {
  /** Undefined while it is being made. */
  readonly gateway: string | undefined;
  /**
   * `attached`: the gateway delivers; `ready`: it also knows topics and record; `leaving`: it ends as soon as another one
   * is ready.
   */
  readonly state: "attaching" | "attached" | "ready" | "leaving";
  /** Messages leave through this one, and other gateways send to it first. */
  readonly preferred: boolean;
  readonly leaseMs: number | undefined;
  readonly lastError: CausewayError | undefined;
}

/** What an agent knows of itself. */
export interface AgentReport {
  readonly agentId: AgentId;
  /** `detached`: the gateway has ended the attachment for good, for example because the agent was revoked. */
  readonly state: "connecting" | "attached" | "reconnecting" | "detached" | "closed";
  /** Of the preferred attachment; so are lease, model and features. */
  readonly gateway: string | undefined;
  /** Lifetime that the gateway grants from each heartbeat on; in the soft model from all that the agent sends. */
  readonly leaseMs: number | undefined;
  /** How the gateway keeps this attachment, as agreed with it; undefined while there is none. */
  readonly model: "stateful" | "soft" | undefined;
  /** What agent and gateway both speak, signed at attachment; empty while there is none. */
  readonly features: readonly string[];
  /** All of them; during a move, and with the option `attachments`, there are several. */
  readonly attachments: readonly AttachmentReport[];
  readonly discovery: DiscoveryReport;
  readonly direct: DirectReport;
  readonly lastError: CausewayError | undefined;
  readonly certificateExpiresUnixMs: number;
  readonly registered: boolean;
  readonly topics: readonly {
    readonly topic: string;
    readonly owner: AgentId;
    readonly members: number;
    readonly epoch: number;
  }[];
  readonly sessions: readonly { readonly peer: AgentId; readonly suite: number; readonly epoch: number }[];
  readonly counters: Readonly<Record<string, number>>;
}

/** An agent on the network. */
export interface Agent extends AsyncDisposable {
  readonly id: AgentId;
  /** Registers the profile and makes it known. A second call replaces the first. */
  register(profile: AgentProfile | CardProfile, options?: RegisterOptions): Promise<Registration>;
  /** Takes the registration back. */
  deregister(reason?: string, options?: CallOptions): Promise<void>;
  /** Handles requests for one method, or all others. Returns the function that ends it. */
  onRequest(method: string, handler: RequestHandler): () => void;
  onRequest(handler: RequestHandler): () => void;
  /** Handles messages. They wait for it during the first five seconds. Returns the function that ends it. */
  onMessage(handler: MessageHandler): () => void;
  /**
   * Asks another agent: `domain/namespace/name`, one instance of it (`…/@instance`), or any one below a prefix that ends in
   * '/', which is then kept. Fails with `CAUSEWAY_TIMEOUT` when no answer came in time (the outcome is unknown), with
   * `CAUSEWAY_AGENT_HANDLER_FAILED` or `CAUSEWAY_AGENT_NO_HANDLER` from the other side, or with the code of a gateway.
   */
  request(target: string, ask: Ask, options?: MessageOptions): Promise<Answer>;
  /**
   * Asks another agent and yields the parts of its answer as they come. Leaving the loop cancels the handler.
   * `timeoutMs` bounds the silence before each part. A slow loop holds the other side back.
   */
  stream(target: string, ask: Ask, options?: MessageOptions): AsyncIterable<Content>;
  /**
   * Resolves when the message has come as far as `ack` says: by default, when the handler of the other agent took it.
   * Fails with `CAUSEWAY_TIMEOUT` when that is unknown, and with any other code when the message was not taken, except
   * after `CAUSEWAY_CANCELLED` and the end of this agent.
   */
  send(target: string, data: Data, options?: SendOptions): Promise<Receipt>;
  /** Opens a stream to another agent; it can be written to at once. */
  openStream(target: string, options?: StreamOptions): AgentStream;
  /** Handles streams of one name, or all others. Returns the function that ends it. */
  onStream(name: string, handler: StreamHandler): () => void;
  onStream(handler: StreamHandler): () => void;
  /** A transport for generated Connect clients: `createClient(ElizaService, agent.transportTo("green.example/x/eliza"))`. */
  transportTo(target: string, options?: TransportOptions): Transport;
  /** Serves Connect services to other agents, all four kinds of calls. Returns the function that ends it. */
  serve(routes: (router: ConnectRouter) => void): () => void;
  /**
   * Asks many agents at once and collects what comes until `timeoutMs`. Targets are names, or one prefix that ends in '/':
   * all agents below it that discovery finds, at most 100.
   */
  requestMany(targets: string | readonly string[], ask: Ask, options?: ManyOptions): Promise<ManyAnswers>;
  /**
   * Asks whoever can do what is needed: the best match that is there, and the next one when it certainly was not reached.
   * The answer says which one was chosen and why. Throws `CAUSEWAY_RECORD_NOT_FOUND` when nobody can be reached, and the
   * error of the one that was asked otherwise.
   */
  requestFor(capability: Capability, ask: Ask, options?: MessageOptions): Promise<CapabilityAnswer>;
  /** Finds agents in plain words. */
  discover(text: string, options?: DiscoverOptions): Promise<Discovery>;
  /** The record of one agent, or undefined when none is visible from here. */
  lookup(agent: string, options?: CallOptions): Promise<Match | undefined>;
  /** Creates a topic under the own name (`deals` becomes `<own name>/deals`). Returns its full name. */
  createTopic(topic: string, rights?: TopicRights, options?: CallOptions): Promise<string>;
  /**
   * Deletes a topic of this agent. Its members are out, and what they publish later fails with
   * `CAUSEWAY_TOPIC_NOT_FOUND`, as this does for a topic that this agent did not create.
   */
  deleteTopic(topic: string, options?: CallOptions): Promise<void>;
  /**
   * What the gateway of the topic's owner knows of it. `owner`: for topics more than one segment below its name. Throws
   * `CAUSEWAY_TOPIC_NOT_FOUND`.
   */
  describeTopic(topic: string, options?: CallOptions & { readonly owner?: string }): Promise<TopicDescription>;
  /** The topics of an agent, at most 1,000. Default: of this one. */
  listTopics(owner?: string, options?: CallOptions): Promise<readonly TopicDescription[]>;
  /** Publishes to every present subscriber. Resolves when the gateway has taken it over. */
  publish(topic: string, data: Data, options?: CallOptions): Promise<void>;
  /**
   * Asks the topic's owner for membership and handles what is published from then on. `<owner>/*`: every topic of the
   * owner that this agent may hear, those that come later included; deeper patterns need `owner`. Each publication says
   * which topic it is of.
   */
  subscribe(
    topic: string,
    handler: PublicationHandler,
    options?: CallOptions & { readonly owner?: string },
  ): Promise<Subscription>;
  /**
   * Calls `listener` for what happens at the gateway and concerns this agent, from now on and over reconnections. `types`
   * are types, or families that end in a dot: `["topic.", "delivery.failed"]`; at most 64 of all watches together.
   */
  watch(types: readonly string[], listener: NetworkEventListener, options?: CallOptions): Promise<Watch>;
  /** Says how the agent is; its heartbeats carry it, and others see it as status. Default `running`. */
  setCondition(condition: "running" | "degraded" | "offline"): void;
  status(): AgentReport;
  /** Calls `listener` for each event. Returns the function that ends it. */
  onEvent(listener: (event: AgentEvent) => void): () => void;
  /** Detaches and frees everything. What is under way fails with `CAUSEWAY_CANCELLED`. */
  close(options?: CloseOptions): Promise<void>;
}
