/**
 * Which way a message takes: through the gateway, or over a direct link to an agent of the same domain (ANA-95, ANA-96).
 * The rule is the core's; this keeps its facts, opens the listener while the domain permits it, tells partners inside MLS
 * where it is, and has key packages handed out where there is no delivery service.
 */
import { create } from "@bufbuild/protobuf";
import { type AgreedUse, agreedUse, type GatewayUse, type Lease, type Way, wayOf } from "@causeway/core-attachment";
import { type AgentId, CausewayError, domainOf, refuse, type SpiffeId } from "@causeway/core-base";
import { type agp, Lane, session } from "@causeway/core-wire";
import type { AgentEvent, AgentReport } from "../api.ts";
import type { Connector, DirectListener } from "../connector.ts";
import type { EndToEnd } from "../end-to-end.ts";
import type { Target } from "../sealed-sender.ts";
import type { Delivery } from "../session/arrivals.ts";
import type { SessionBody } from "../session/messages.ts";
import { Rate } from "../session/rate.ts";
import { Addresses } from "./addresses.ts";
import type { DirectLink } from "./direct-link.ts";
import { DirectLinks } from "./direct-links.ts";
import { KeyPackageDesk } from "./key-package-desk.ts";
import { type DirectLimits, directLimits } from "./limits.ts";

/** Direct links as an application asks for them. */
export interface DirectOptions {
  /** Where agents of the own domain take direct links, by name: for the first contact without a gateway. */
  readonly peers?: Readonly<Record<string, string>>;
  readonly limits?: Partial<DirectLimits>;
}

export interface WaysPorts {
  readonly connector: Connector;
  readonly self: AgentId;
  readonly source: SpiffeId;
  readonly gatewayUse: GatewayUse;
  readonly options: DirectOptions;
  readonly endToEnd: EndToEnd;
  /** The link to the gateway. */
  readonly gateway: {
    transmit(frame: Uint8Array, lane: Lane): Promise<void>;
    awaiting<T>(work: () => Promise<T>): Promise<T>;
  };
  readonly onMessage: (envelope: agp.Envelope) => Promise<void>;
  readonly onControl: (control: agp.Control) => void;
  /** There is news about who can be reached; what is under way to `lost` may be lost. */
  readonly onChange: (lost: AgentId | undefined) => void;
  readonly onEvent: (event: AgentEvent) => void;
  /** Sends a message to a partner, end to end. */
  readonly tell: (to: SpiffeId, body: SessionBody) => Promise<void>;
}

export class Ways {
  readonly #ports: WaysPorts;
  readonly #limits: DirectLimits;
  readonly #addresses: Addresses;
  readonly #links: DirectLinks;
  readonly #desk: KeyPackageDesk;
  /** What names of the own domain begin with. */
  readonly #inside: string;
  /** Whom was told which address, by the channels of their runs: a later run knows it no more. Bounded, oldest first. */
  readonly #told = new Map<string, string>();
  readonly #tells: Rate;
  #use: AgreedUse;
  #isGatewayUp = false;
  #listening: Promise<DirectListener | undefined> = Promise.resolve(undefined);
  #listener: DirectListener | undefined;
  #mayListen = false;
  #closing: Promise<void> | undefined;

  constructor(ports: WaysPorts) {
    const { connector, self, source, options } = ports;
    this.#ports = ports;
    this.#limits = { ...directLimits, ...options.limits };
    this.#use = ports.gatewayUse;
    this.#inside = `spiffe://${domainOf(self)}/`;
    this.#addresses = new Addresses(self, options.peers ?? {}, this.#limits.addressesMax);
    this.#tells = new Rate(connector.scheduler, this.#limits.tellsPerMinute, 60_000);
    this.#desk = new KeyPackageDesk(ports, this.#limits);
    this.#links = new DirectLinks({
      connector,
      self,
      source,
      limits: this.#limits,
      isWithoutGateway: () => this.#isWithoutGateway(),
      refusal: () => this.#refusal(),
      addressOf: (to) => this.#addresses.of(to),
      onMessage: ports.onMessage,
      onControl: (link, control) => this.#handleControl(link, control),
      onChange: ports.onChange,
      onRefused: (peer, error) => ports.onEvent({ type: "security", peer, error }),
    });
  }

  /** Puts a frame on the way to its target; to the gateway without one. Rejects with the reason why there is no way. */
  async transmit(frame: Uint8Array, to?: Target, lane: Lane = Lane.urgent): Promise<"gateway" | "direct"> {
    const way = to?.kind === "agent" ? this.#wayTo(to.name as SpiffeId) : "gateway";
    if (way === "gateway") await this.#ports.gateway.transmit(frame, lane);
    else if (way === "direct")
      await this.#links.transmit(frame, to?.name as SpiffeId, lane).catch((thrown: unknown) => this.#postpone(thrown));
    else throw this.#noWay(to?.name ?? "", way);
    return way;
  }

  /** Keeps reading, from the gateway and directly, while `work` waits for something that comes. */
  awaiting<T>(work: () => Promise<T>): Promise<T> {
    return this.#ports.gateway.awaiting(() => this.#links.awaiting(work));
  }

  /** False while there is nothing to send a message to this agent with. What may not be sent fails when it is tried. */
  reaches(name: SpiffeId): boolean {
    return this.#wayTo(name) !== "gateway" || this.#isGatewayUp;
  }

  /** False for agents with whom this one speaks past the gateways, where no delivery service orders anything. */
  isOrdered(peer: AgentId): boolean {
    return this.#wayTo(peer) === "gateway";
  }

  /** True when messages to this agent go over a direct link that is open. */
  isDirect(name: SpiffeId): boolean {
    return this.#wayTo(name) === "direct" && this.#links.to(name) !== undefined;
  }

  handleAttached({ gatewayUse }: Lease): void {
    this.#isGatewayUp = true;
    this.#use = agreedUse(this.#ports.gatewayUse, gatewayUse);
    if (this.#use === "none") this.#ports.onEvent({ type: "warning", error: this.#noWay("", "forbidden") });
    const refusal = this.#refusal();
    if (refusal) {
      this.#links.endAll(refusal);
      void this.#stopListening();
    } else this.#listen();
    this.#links.greet();
  }

  /** Resolves when the listener is open, or cannot be opened, or is closed. */
  async settled(): Promise<void> {
    await this.#listening;
  }

  handleLost(): void {
    this.#isGatewayUp = false;
    this.#links.greet();
  }

  /** Something came from a partner in a channel: it may want to know where it can reach this agent directly. */
  handleHeard(from: SpiffeId, channel: string): void {
    const url = this.#listener?.url;
    if (url === undefined || !this.#isInside(from)) return;
    const run = `${from} ${channel.slice(0, channelCharsMax)}`;
    if (this.#told.get(run) === url || !this.#tells.allows(from)) return;
    this.#told.set(run, url);
    const [oldest] = this.#told.keys();
    if (this.#told.size > this.#limits.toldMax && oldest !== undefined) this.#told.delete(oldest);
    const value = create(session.DirectAddressSchema, { url });
    this.#ports.tell(from, { case: "directAddress", value }).catch(() => this.#told.delete(run));
  }

  /** A partner says where it takes direct links. */
  handleAddress(delivery: Delivery, { url }: session.DirectAddress): void {
    try {
      this.#addresses.learn(delivery.address, url);
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      delivery.settle({ code: error.code, message: error.message });
      this.#ports.onEvent({ type: "security", peer: delivery.from, error });
      return;
    }
    delivery.settle();
    this.#ports.onChange(undefined);
  }

  /** Certificates may have been revoked. */
  checkTrust(): void {
    this.#links.checkTrust();
  }

  report(): AgentReport["direct"] {
    const { scheduler } = this.#ports.connector;
    const { instant, unix } = scheduler.now();
    return {
      gatewayUse: this.#use,
      listening: this.#listener?.url,
      known: this.#addresses.size,
      links: this.#links.open.map(({ peer, name, isDialled, since }) => ({
        peer: name ?? peer,
        dialled: isDialled,
        sinceUnixMs: unix - (instant - since),
      })),
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#stopListening();
    this.#links.endAll();
    return this.#closing;
  }

  #wayTo(name: SpiffeId): Way {
    // What every message of most agents comes to, for the price of nothing.
    if (this.#use === "prefer" && this.#isGatewayUp && this.#links.isEmpty) return "gateway";
    const link = this.#links.to(name);
    return wayOf({
      use: this.#use,
      isInside: this.#isInside(name),
      isGatewayUp: this.#isGatewayUp,
      isDirectKnown: link !== undefined || (!!this.#ports.connector.direct && this.#addresses.of(name) !== undefined),
      isPeerWithoutGateway: link?.isPeerWithoutGateway ?? false,
    });
  }

  #isInside(name: SpiffeId): boolean {
    return name.startsWith(this.#inside);
  }

  #isWithoutGateway(): boolean {
    return this.#use === "never" || !this.#isGatewayUp;
  }

  #noWay(to: string, why: "no direct way" | "forbidden"): CausewayError {
    if (why === "forbidden") {
      const problem =
        "expected agent and domain to agree on a way inside the domain, but one of them forbids gateways and the other direct links; change gatewayUse of either";
      return refuse("CAUSEWAY_DIRECT_NOT_ALLOWED", problem);
    }
    const problem = `expected a direct link to ${to}, since gatewayUse is never, but neither of the two agents knows where the other one listens; name it in direct.peers, or let one listen`;
    return refuse("CAUSEWAY_DIRECT_NO_WAY", problem);
  }

  /** Where a gateway may come back, or has to be used now, what a direct link refuses waits for it. */
  #postpone(thrown: unknown): never {
    const error = CausewayError.from(thrown);
    if (this.#use === "never" || this.#use === "none" || error.retryable) throw error;
    const problem = `the direct way is closed (${error.message}); the agent sends through its gateway as soon as it has one`;
    throw refuse("CAUSEWAY_UNREACHABLE", problem, { cause: error });
  }

  #listen(): void {
    const { direct, log } = this.#ports.connector;
    if (!direct?.listen || this.#listener || this.#closing) return;
    const open = direct.listen;
    this.#mayListen = true;
    this.#listening = this.#listening.then(async (known) => {
      if (known || !this.#mayListen) return known;
      try {
        const listener = await open((link) => this.#links.accept(link));
        // Whoever forbade it meanwhile closes it next.
        if (!this.#mayListen) return listener;
        this.#listener = listener;
        log.info("agent.direct_listening", { url: listener.url });
        return listener;
      } catch (thrown) {
        this.#ports.onEvent({ type: "warning", error: CausewayError.from(thrown) });
        return undefined;
      }
    });
  }

  /** Resolves when nothing listens any more. */
  async #stopListening(): Promise<void> {
    this.#mayListen = false;
    this.#listener = undefined;
    this.#listening = this.#listening.then(async (listener) => {
      if (this.#listener === listener) this.#listener = undefined;
      await listener?.close().catch((thrown: unknown) => {
        this.#ports.onEvent({ type: "warning", error: CausewayError.from(thrown) });
      });
      return undefined;
    });
    await this.#listening;
  }

  /** Why there may be no direct link: the agent closes, or the domain or the agent itself forbids them. */
  #refusal(): CausewayError | undefined {
    if (this.#closing) return refuse("CAUSEWAY_CANCELLED", "the agent was closed while a direct link was to begin");
    if (this.#use === "prefer" || this.#use === "never") return undefined;
    const problem = "expected messages of this domain to go through gateways, as it prescribes";
    return refuse("CAUSEWAY_DIRECT_NOT_ALLOWED", problem);
  }

  /** Promises the answer to what is a question. */
  #handleControl(link: DirectLink, control: agp.Control): Promise<void> | undefined {
    if (control.body.case === "keyPackageFetch") return this.#desk.answer(link, control, control.body.value);
    this.#ports.onControl(control);
    return undefined;
  }
}

/** As much of a channel as is remembered; whoever calls it longer is told less often than it would like. */
const channelCharsMax = 32;
