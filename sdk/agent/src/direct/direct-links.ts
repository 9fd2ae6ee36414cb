/** All direct links of an agent: dialled when one is needed, accepted while it listens, closed when they rest. */
import {
  type AgentId,
  agentOf,
  CausewayError,
  type Instant,
  instanceOf,
  later,
  refuse,
  type SpiffeId,
} from "@causeway/core-base";
import type { Lane } from "@causeway/core-wire";
import { cancelled, WakeUp } from "../clock.ts";
import type { GatewayLink } from "../connector.ts";
import { DirectLink, type DirectLinkPorts } from "./direct-link.ts";
import type { DirectLimits } from "./limits.ts";

export interface DirectLinksPorts extends Omit<DirectLinkPorts, "onHello" | "onEnd" | "limits"> {
  readonly limits: DirectLimits;
  /** Why there may be no direct link now; undefined when there may be. */
  readonly refusal: () => CausewayError | undefined;
  readonly addressOf: (to: SpiffeId) => string | undefined;
  /** Ways have opened or closed; `lost`: what is under way to this agent may be lost. */
  readonly onChange: (lost: AgentId | undefined) => void;
  /** The other end was refused. */
  readonly onRefused: (peer: AgentId, error: CausewayError) => void;
}

export class DirectLinks {
  readonly #ports: DirectLinksPorts;
  /** Newest last. */
  readonly #links = new Set<DirectLink>();
  readonly #dialling = new Map<SpiffeId, Promise<DirectLink>>();
  /** The last attempt of each agent that failed lately. Bounded, oldest first. */
  readonly #failed = new Map<SpiffeId, { readonly until: Instant; readonly error: CausewayError }>();
  /** Ends what is being dialled. */
  #abort = new AbortController();
  readonly #rest: WakeUp;

  constructor(ports: DirectLinksPorts) {
    this.#ports = ports;
    this.#rest = new WakeUp(ports.connector.scheduler, () => this.#sweep());
  }

  get isEmpty(): boolean {
    return this.#links.size === 0;
  }

  get open(): readonly DirectLink[] {
    return [...this.#links].filter(({ isOpen }) => isOpen);
  }

  /** The newest open link to an agent, or to its instance when one is named. */
  to(name: SpiffeId): DirectLink | undefined {
    const isIt = (link: DirectLink): boolean =>
      link.name === name || (instanceOf(name) === undefined && link.peer === name);
    return this.open.findLast(isIt);
  }

  /** Takes a link that came in. */
  accept(link: GatewayLink): void {
    // One that came while the listener closes is for nobody any more.
    const refusal = this.#ports.refusal();
    if (refusal) {
      link.close(refusal);
      return;
    }
    const problem = this.#fullness();
    if (problem) {
      link.close(problem);
      this.#ports.onRefused(link.peer.spiffeId, problem);
      return;
    }
    // Why it does not open is told where links end.
    this.#begin(link).catch(() => undefined);
  }

  /** Puts a frame on the link to an agent, which is dialled if there is none. */
  async transmit(frame: Uint8Array, to: SpiffeId, lane: Lane): Promise<void> {
    const link = this.to(to) ?? (await this.#dial(to));
    await link.transmit(frame, lane);
  }

  /** Keeps reading from all links while `work` waits. */
  awaiting<T>(work: () => Promise<T>): Promise<T> {
    return this.open.reduce((inner, link) => () => link.awaiting(inner), work)();
  }

  /** Tells the other ends whether this one has a gateway. */
  greet(): void {
    for (const link of this.open) link.greet();
  }

  /** Certificates may be revoked. */
  checkTrust(): void {
    const { trust } = this.#ports.connector.identity;
    for (const link of [...this.#links])
      if (trust.isRevoked(link.certificate))
        link.end(
          refuse(
            "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
            `expected a valid certificate of ${link.peer}, it was revoked meanwhile`,
          ),
        );
  }

  /** Ends all links, and what is being dialled, for `error` or because the agent closes. */
  endAll(error?: CausewayError): void {
    this.#abort.abort(error);
    this.#abort = new AbortController();
    for (const link of [...this.#links]) link.end(error);
    this.#plan();
  }

  #dial(to: SpiffeId): Promise<DirectLink> {
    const known = this.#dialling.get(to);
    if (known) return known;
    const dialled = this.#open(to).finally(() => this.#dialling.delete(to));
    this.#dialling.set(to, dialled);
    return dialled;
  }

  async #open(to: SpiffeId): Promise<DirectLink> {
    const { connector, addressOf } = this.#ports;
    const url = addressOf(to);
    const last = this.#failed.get(to);
    const lately = last && last.until > this.#now() ? last.error : undefined;
    const problem = this.#ports.refusal() ?? lately ?? this.#fullness();
    if (problem) throw problem;
    if (url === undefined || !connector.direct)
      throw refuse("CAUSEWAY_UNREACHABLE", `expected to know where ${to} takes direct links, got no address`);
    const { signal } = this.#abort;
    try {
      const link = await connector.direct.dial(url, agentOf(to), signal);
      const refusal = this.#ports.refusal() ?? (signal.aborted ? cancelled(signal) : undefined);
      if (refusal) {
        link.close();
        throw refusal;
      }
      return await this.#begin(link, to);
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      // What was ended here says nothing about the other agent.
      if (signal.aborted) throw error;
      connector.log.warn("agent.direct_dial_failed", { peer: to, url, code: error.code, message: error.message });
      this.#noteFailure(to, error);
      throw error;
    }
  }

  #noteFailure(to: SpiffeId, error: CausewayError): void {
    const { redialMs, addressesMax } = this.#ports.limits;
    this.#failed.delete(to);
    this.#failed.set(to, { until: later(this.#now(), redialMs), error });
    const [oldest] = this.#failed.keys();
    if (this.#failed.size > addressesMax && oldest !== undefined) this.#failed.delete(oldest);
  }

  async #begin(taken: GatewayLink, target?: SpiffeId): Promise<DirectLink> {
    const { connector, onChange } = this.#ports;
    const link = new DirectLink(
      { ...this.#ports, onHello: () => onChange(undefined), onEnd: (ended, error) => this.#handleEnd(ended, error) },
      taken,
      target,
    );
    this.#links.add(link);
    await link.start();
    connector.log.info("agent.direct_opened", { peer: link.name, dialled: link.isDialled });
    this.#plan();
    return link;
  }

  #handleEnd(link: DirectLink, error: CausewayError | undefined): void {
    const { log } = this.#ports.connector;
    this.#links.delete(link);
    const wasOpen = link.name !== undefined;
    if (error && (error.family === "peer-fault" || error.family === "refused")) {
      log.warn("agent.direct_refused", { peer: link.peer, code: error.code, message: error.message });
      this.#ports.onRefused(link.peer, error);
    } else if (wasOpen) log.info("agent.direct_closed", { peer: link.peer, code: error?.code });
    if (wasOpen) this.#ports.onChange(link.peer);
  }

  #fullness(): CausewayError | undefined {
    const { linksMax } = this.#ports.limits;
    if (this.#links.size + this.#dialling.size < linksMax) return undefined;
    return refuse(
      "CAUSEWAY_LIMIT_COUNT",
      `expected at most ${linksMax} direct links at once; they close when they rest`,
      {
        details: { limit: "linksMax", value: String(linksMax) },
      },
    );
  }

  /** Wakes up when the first link may have rested long enough, or a certificate expires: no later link puts that off. */
  #plan(): void {
    const { connector, limits } = this.#ports;
    const { instant, unix } = connector.scheduler.now();
    let first: Instant | undefined;
    for (const { certificate, lastUsed } of this.#links) {
      const rested = later(lastUsed, limits.idleMs);
      const expired = later(instant, Math.max(0, certificate.notAfter - unix) + 1);
      const due = expired < rested ? expired : rested;
      if (first === undefined || due < first) first = due;
    }
    this.#rest.set(first);
  }

  #now(): Instant {
    return this.#ports.connector.scheduler.now().instant;
  }

  /** Links that rest, and those whose other end's certificate has expired. */
  #sweep(): void {
    const { instant, unix } = this.#ports.connector.scheduler.now();
    for (const link of [...this.#links]) {
      if (link.certificate.notAfter < unix) {
        const problem = `expected a valid certificate of ${link.peer}, it has expired; connect again with the renewed one`;
        link.end(refuse("CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED", problem));
      } else if (instant - link.lastUsed >= this.#ports.limits.idleMs) link.end();
    }
    this.#plan();
  }
}
