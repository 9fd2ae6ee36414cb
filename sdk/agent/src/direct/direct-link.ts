/**
 * One link between two agents of a domain (ANA-96). Both ends say first who they are; what breaks the rules ends the link
 * with a typed error. The certificate of the other end was verified before; that it is of the same domain is judged here.
 */
import {
  type AgentId,
  agentOf,
  CausewayError,
  domainOf,
  type Instant,
  refuse,
  type SpiffeId,
} from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { type agp, encodeFrame, Lane } from "@causeway/core-wire";
import { inNextTurn, within } from "../clock.ts";
import type { Connector, FrameSlice, GatewayLink } from "../connector.ts";
import { Intake } from "../intake.ts";
import { LinkRoom } from "../link-room.ts";
import { Rate } from "../session/rate.ts";
import { readDirectFrame } from "./direct-frames.ts";
import type { DirectLimits } from "./limits.ts";

export interface DirectLinkPorts {
  readonly connector: Connector;
  readonly self: AgentId;
  readonly source: SpiffeId;
  readonly limits: Pick<
    DirectLimits,
    "receivingMax" | "receivingBytesMax" | "helloMs" | "questionsMax" | "hellosPerMinute"
  >;
  /** True while this agent cannot or must not use its gateway. */
  readonly isWithoutGateway: () => boolean;
  readonly onMessage: (envelope: agp.Envelope) => Promise<void>;
  /** What it answers resolves when the answer is on the link. */
  readonly onControl: (link: DirectLink, control: agp.Control) => Promise<void> | undefined;
  /** The other end has said something new about itself. */
  readonly onHello: (link: DirectLink) => void;
  /** Once. `error` is what the link was ended for, by either side. */
  readonly onEnd: (link: DirectLink, error: CausewayError | undefined) => void;
}

export class DirectLink {
  readonly peer: AgentId;
  readonly certificate: VerifiedPeer;
  readonly isDialled: boolean;
  readonly since: Instant;
  /** The other end with its instance, once it has said it. */
  name: SpiffeId | undefined;
  /** The other end cannot be reached through its gateway. */
  isPeerWithoutGateway = false;
  lastUsed: Instant;
  readonly #ports: DirectLinkPorts;
  readonly #link: GatewayLink;
  readonly #intake: Intake;
  readonly #opening = Promise.withResolvers<void>();
  #target: SpiffeId | undefined;
  readonly #room = new LinkRoom();
  readonly #hellos: Rate;
  /** Questions that are being answered. */
  #questions = 0;
  #isEnded = false;

  /** `target`: whom this agent has dialled; undefined for a link that came in. */
  constructor(ports: DirectLinkPorts, link: GatewayLink, target?: SpiffeId) {
    const { connector, limits } = ports;
    this.#ports = ports;
    this.#link = link;
    this.#target = target;
    this.peer = link.peer.spiffeId;
    this.certificate = link.peer;
    this.isDialled = target !== undefined;
    this.since = connector.scheduler.now().instant;
    this.lastUsed = this.since;
    this.#hellos = new Rate(connector.scheduler, limits.hellosPerMinute, 60_000);
    this.#intake = new Intake({
      limits,
      process: ports.onMessage,
      pause: () => link.pause(),
      resume: () => link.resume(),
      onDrop: () => connector.log.warn("agent.message_dropped", { reason: "too many messages are being processed" }),
      nextTurn: (run) => inNextTurn(connector, run),
    });
    this.#opening.promise.catch(() => undefined);
  }

  get isOpen(): boolean {
    return !this.#isEnded && this.name !== undefined;
  }

  /** Begins to read. Resolves when both ends know each other; rejects with the reason why that did not happen. */
  async start(): Promise<void> {
    const { connector, limits } = this.#ports;
    const { scheduler } = connector;
    this.#link.onWritable(() => this.#room.open());
    this.#link.onClose((error) => this.#end(error));
    const problem = this.#judge();
    if (problem) this.end(problem);
    else {
      if (this.isDialled) this.greet();
      this.#link.onFrames((frames) => {
        for (const frame of frames) this.#handleFrame(frame);
      });
    }
    const expected = `${this.peer} to say who it is`;
    try {
      await within(this.#opening.promise, { scheduler, timeoutMs: limits.helloMs, expected });
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      this.end(error);
      throw error;
    }
  }

  /** Says who this end is and whether it has a gateway; again whenever that changes. */
  greet(): void {
    const target = this.name ?? this.#target;
    if (target === undefined || this.#isEnded) return;
    const { source, isWithoutGateway } = this.#ports;
    this.#link.send(
      encodeFrame({ case: "directHello", value: { source, target, withoutGateway: isWithoutGateway() } }),
    );
  }

  /** Puts a frame on the link and waits for room. Rejects with `CAUSEWAY_UNREACHABLE` when it has ended. */
  async transmit(frame: Uint8Array, lane: Lane = Lane.urgent): Promise<void> {
    for (let room = this.#room.wait(lane); room; room = this.#room.wait(lane)) await room;
    if (!this.isOpen) throw refuse("CAUSEWAY_UNREACHABLE", `the direct link to ${this.peer} has ended`);
    this.lastUsed = this.#now();
    if (!this.#link.send(frame, 0, frame.length, lane)) this.#room.close(lane);
  }

  /** Keeps reading while `work` waits for something that may come over the link. */
  awaiting<T>(work: () => Promise<T>): Promise<T> {
    return this.#intake.awaiting(work);
  }

  /** Ends the link; the other side hears `error`. */
  end(error?: CausewayError): void {
    if (this.#isEnded) return;
    this.#link.close(error);
    this.#end(error);
  }

  /** ANA-95: only agents of the own domain, whose certificates are not revoked, whatever the platform let through. */
  #judge(): CausewayError | undefined {
    const { connector, self } = this.#ports;
    const { role, purpose, domain, spiffeId } = this.certificate;
    if (domain !== domainOf(self)) {
      const problem = `expected an agent of ${domainOf(self)} on a direct link, got ${spiffeId}; agents of other domains are reached through gateways`;
      return refuse("CAUSEWAY_DIRECT_NOT_ALLOWED", problem);
    }
    if (role !== "agent" || purpose !== "tls")
      return refuse("CAUSEWAY_IDENTITY_ROLE_WRONG", `expected an agent on a direct link, got ${spiffeId}, a ${role}`);
    if (connector.identity.trust.isRevoked(this.certificate))
      return refuse(
        "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
        `expected a valid certificate of ${spiffeId}, got a revoked one`,
      );
    if (this.#target !== undefined && agentOf(this.#target) !== spiffeId)
      return refuse(
        "CAUSEWAY_IDENTITY_MISMATCH",
        `expected ${agentOf(this.#target)} on a direct link, reached ${spiffeId}`,
      );
    return spiffeId === self
      ? refuse("CAUSEWAY_MISUSE", "expected another agent at the other end, got this one itself")
      : undefined;
  }

  #handleFrame({ buffer, start, end }: FrameSlice): void {
    if (this.#isEnded) return;
    this.lastUsed = this.#now();
    const { self, source } = this.#ports;
    try {
      // A copy: envelopes point into it, and are kept beyond this call.
      const bytes = new Uint8Array(buffer.subarray(start, end));
      const frame = readDirectFrame(bytes, { self, source, peer: this.peer, peerName: this.name });
      if (frame.kind === "hello") this.#handleHello(frame.name, frame.isWithoutGateway);
      else if (frame.kind === "message") this.#intake.take(frame.envelope);
      else this.#handleControl(frame.control);
    } catch (thrown) {
      this.end(CausewayError.from(thrown));
    }
  }

  /** Whoever asks without reading the answers would have them pile up here. */
  #handleControl(control: agp.Control): void {
    const answered = this.#ports.onControl(this, control);
    if (!answered) return;
    this.#questions++;
    const done = (): void => void this.#questions--;
    answered.then(done, done);
    const { questionsMax } = this.#ports.limits;
    if (this.#questions > questionsMax)
      throw refuse(
        "CAUSEWAY_LIMIT_COUNT",
        `expected ${this.peer} to wait for answers to its questions, got more than ${questionsMax} at once`,
        { details: { limit: "questionsMax", value: String(questionsMax) } },
      );
  }

  #handleHello(name: SpiffeId, isWithoutGateway: boolean): void {
    const isFirst = this.name === undefined;
    if (!isFirst && this.isPeerWithoutGateway === isWithoutGateway) return;
    if (!isFirst && !this.#hellos.allows(name)) {
      const problem = `expected at most ${this.#ports.limits.hellosPerMinute} changes of mind in a minute from ${name}, got more`;
      throw refuse("CAUSEWAY_LIMIT_RATE", problem);
    }
    this.name = name;
    this.isPeerWithoutGateway = isWithoutGateway;
    if (isFirst && !this.isDialled) this.greet();
    this.#ports.onHello(this);
    this.#opening.resolve();
  }

  #end(error: CausewayError | undefined): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#room.reset();
    this.#opening.reject(error ?? refuse("CAUSEWAY_UNREACHABLE", `${this.peer} closed the direct link`));
    this.#ports.onEnd(this, error);
  }

  #now(): Instant {
    return this.#ports.connector.scheduler.now().instant;
  }
}
