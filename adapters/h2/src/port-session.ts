import { constants, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { type CausewayError, refuse } from "@causeway/core-base";
import { acceptLink, linkPath, refuseStream } from "./accept-link.ts";
import { type Caller, isApplicant } from "./caller.ts";
import { carriedBy } from "./carrier.ts";
import { channelBindingOf, serverEndPointOf } from "./channel-binding.ts";
import type { H2Limits } from "./limits.ts";
import type { Link } from "./link.ts";
import type { PortSocket } from "./port-socket.ts";
import type { ServiceHandler } from "./service-handler.ts";
import { endGraceMs, type Session } from "./session.ts";
import { StreamLink } from "./stream-link.ts";
import { encodeRefusal } from "./wire-errors.ts";

/** What a session hands its streams to. */
export interface SessionServices {
  readonly limits: H2Limits;
  readonly serve: ServiceHandler;
  readonly onLink: ((link: Link) => void) | undefined;
  readonly onDefect: (thrown: unknown) => void;
  readonly onLinkRefused: (caller: Caller, error: CausewayError) => void;
  /** A link that was accepted and ended for what the other side sent, or did not read. */
  readonly onLinkFault: (caller: Caller, error: CausewayError) => void;
}

/** An authenticated TLS connection of a port with streams of all services on it. */
export class PortSession implements Session {
  readonly caller: Caller;
  readonly #socket: PortSocket;
  readonly #session: ServerHttp2Session;
  readonly #services: SessionServices;
  readonly #links = new Set<StreamLink>();
  #streams = 0;
  #idleSince = performance.now();
  #bytesSeen = -1;
  #isPingOpen = false;

  constructor(socket: PortSocket, session: ServerHttp2Session, caller: Caller, services: SessionServices) {
    this.caller = caller;
    this.#socket = socket;
    this.#session = session;
    this.#services = services;
    session.setLocalWindowSize(services.limits.sessionWindowBytes);
    session.on("stream", (stream, headers, _flags, rawHeaders) => this.#onStream(stream, headers, rawHeaders));
  }

  /** No new streams; resolves when the open ones have ended. */
  drain(): Promise<void> {
    if (this.#session.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      // Not as argument of `close`: a session that is closing already, after a GOAWAY of the client, would not take it.
      this.#session.once("close", resolve);
      this.#session.close();
    });
  }

  /** Ends links with `reason` as status, tells the client why, and closes the connection. */
  end(reason: CausewayError): void {
    if (this.#session.destroyed) return;
    for (const link of this.#links) link.close(reason);
    const timer = setTimeout(() => this.destroy(), endGraceMs);
    timer.unref();
    setImmediate(() => {
      if (!this.#session.destroyed) this.#session.goaway(constants.NGHTTP2_NO_ERROR, undefined, encodeRefusal(reason));
    });
  }

  destroy(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  /** Called every `pingEveryMs`: pings when nothing was received since the last call, and gives up on the second silence. */
  watch(): void {
    if (this.#session.destroyed) return;
    const seen = this.#socket.bytesRead;
    const isSilent = seen === this.#bytesSeen;
    this.#bytesSeen = seen;
    if (this.#streams === 0 && performance.now() - this.#idleSince > this.#services.limits.idleMs) {
      this.#session.close();
    } else if (isSilent && this.#isPingOpen) {
      this.destroy();
    } else if (isSilent) {
      this.#isPingOpen = true;
      this.#session.ping((error) => {
        if (error === null) this.#isPingOpen = false;
      });
    }
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    // Opened and reset in one read.
    if (stream.destroyed) return;
    this.#streams += 1;
    stream.on("close", () => {
      this.#streams -= 1;
      this.#idleSince = performance.now();
    });
    // A stream that breaks is closed; its owner sees that. Without a listener the process would end.
    stream.on("error", () => undefined);
    if (headers[":path"] === linkPath) this.#openLink(stream, headers);
    else this.#services.serve(stream, headers, rawHeaders, this.caller);
  }

  #openLink(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const { onLink, limits, onDefect, onLinkRefused, onLinkFault } = this.#services;
    const refusal = this.#linkRefusal();
    if (refusal !== undefined || onLink === undefined || isApplicant(this.caller)) {
      const error =
        refusal ??
        refuse("CAUSEWAY_UNSUPPORTED", "expected a gateway, but this service has no links; attach to a gateway");
      onLinkRefused(this.caller, error);
      refuseStream(stream, error);
      return;
    }
    const { caller } = this;
    const answer = acceptLink(stream, headers);
    if ("refused" in answer) {
      onLinkRefused(caller, answer.refused);
      return;
    }
    const { side, timeoutMs } = answer.accepted;
    const link = new StreamLink({
      carrier: carriedBy(stream),
      side,
      peer: caller,
      channelBinding: channelBindingOf(this.#socket),
      serverEndPoint: () => serverEndPointOf(this.#socket),
      limits,
      where: caller.spiffeId,
      onDefect,
      onFault: (error) => onLinkFault(caller, error),
    });
    this.#links.add(link);
    link.onClose(() => this.#links.delete(link));
    this.#limitTime(link, timeoutMs);
    onLink(link);
  }

  #linkRefusal(): CausewayError | undefined {
    if (!isApplicant(this.caller)) return undefined;
    return refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
      "expected a certificate of the domain's authority on a link, got a self-signed one; enrol first",
    );
  }

  #limitTime(link: StreamLink, timeoutMs: number | undefined): void {
    if (timeoutMs === undefined || timeoutMs > timerMsMax) return;
    const timer = setTimeout(
      () => link.close(refuse("CAUSEWAY_TIMEOUT", "the deadline that the client set for the link has passed")),
      timeoutMs,
    );
    timer.unref();
    link.onClose(() => clearTimeout(timer));
  }
}

/** Longest delay of a Node timer. */
const timerMsMax = 0x7fffffff;
