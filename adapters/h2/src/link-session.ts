import { type CausewayError, refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { responseHeaders, statusHeaders } from "./accept-link.ts";
import { channelBindingOf, serverEndPointOf } from "./channel-binding.ts";
import { LinkConnection, type LinkConnectionEvents } from "./link-connection.ts";
import type { SessionServices } from "./port-session.ts";
import type { PortSocket } from "./port-socket.ts";
import { endGraceMs, type Session } from "./session.ts";
import { StreamLink } from "./stream-link.ts";
import { encodeRefusal } from "./wire-errors.ts";

/** A TLS connection of a port that carries one link and nothing else. */
export class LinkSession implements Session, LinkConnectionEvents {
  readonly caller: VerifiedPeer;
  readonly #socket: PortSocket;
  readonly #services: SessionServices;
  readonly #connection: LinkConnection;
  readonly #onFault: (reason: string) => void;
  /** Made when somebody waits for it. */
  #gone: PromiseWithResolvers<void> | undefined;
  readonly #openedAt = performance.now();
  #link: StreamLink | undefined;
  #bytesSeen = -1;

  /** `onFault` hears when the client breaks HTTP/2 or its promise, or floods; `opening` is what came behind its preface. */
  constructor(
    socket: PortSocket,
    caller: VerifiedPeer,
    services: SessionServices,
    onFault: (reason: string) => void,
    opening: Uint8Array,
  ) {
    this.caller = caller;
    this.#socket = socket;
    this.#services = services;
    this.#onFault = onFault;
    this.#connection = new LinkConnection(socket, services.limits, this);
    this.#connection.open(opening);
  }

  drain(): Promise<void> {
    if (this.#connection.isGone) return Promise.resolve();
    this.#connection.drain(nothing);
    this.#gone ??= Promise.withResolvers<void>();
    return this.#gone.promise;
  }

  end(reason: CausewayError): void {
    if (this.#connection.isGone) return;
    this.#link?.close(reason);
    setTimeout(() => this.destroy(), endGraceMs).unref();
    setImmediate(() => this.#connection.drain(encodeRefusal(reason)));
  }

  destroy(): void {
    this.#connection.destroy();
  }

  watch(): void {
    const seen = this.#socket.bytesRead;
    const isSilent = seen === this.#bytesSeen;
    this.#bytesSeen = seen;
    if (this.#link === undefined && performance.now() - this.#openedAt > this.#services.limits.idleMs) this.destroy();
    else if (isSilent && !this.#connection.ping()) this.destroy();
  }

  onFault(code: number): void {
    this.#onFault(`HTTP/2 error ${code} on a connection for one link`);
  }

  onGone(): void {
    this.#gone?.resolve();
  }

  onRequest(): void {
    const { limits, onLink, onDefect, onLinkFault } = this.#services;
    const connection = this.#connection;
    const { caller } = this;
    connection.respond(asText(responseHeaders));
    const link = new StreamLink({
      carrier: connection,
      side: {
        finish: (error) =>
          connection.endWith(error === undefined ? { "grpc-status": "0" } : asText(statusHeaders(error))),
        received: () => undefined,
        endedWell: () => connection.isRemoteEnded,
      },
      peer: caller,
      channelBinding: channelBindingOf(this.#socket),
      serverEndPoint: () => serverEndPointOf(this.#socket),
      limits,
      where: caller.spiffeId,
      onDefect,
      onFault: (error) => onLinkFault(caller, error),
    });
    this.#link = link;
    if (onLink === undefined)
      link.close(refuse("CAUSEWAY_UNSUPPORTED", "expected a gateway, but this service has no links"));
    else onLink(link);
  }
}

const asText = (headers: object): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));

const nothing = new Uint8Array(0);
