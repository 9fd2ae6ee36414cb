/**
 * Connections whose TLS handshake is not finished, by the address they come from (AAP-102). Nobody has been
 * authenticated yet, so an address is all there is to tell them apart.
 *
 * While there is room, nothing is bounded: a burst of honest agents behind one address (a NAT, a test machine) has any
 * number of handshakes open for a moment, and they need no protection from each other. Once more than half of all
 * connections are taken, a source that has more than its share pays for every new connection, whoever's it is: its oldest
 * unfinished one is closed. So a flood of idle connections from one address never takes the second half, and what gives
 * way is what has been idle longest: an agent behind the flooding address, too, finishes long before its turn comes.
 */

/** What has to be known of a connection, of TCP as of TLS over it. */
export interface HandshakeSocket {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

export interface HandshakesOptions<S> {
  /** Unfinished handshakes of one source above which its oldest give way, when connections are short. */
  readonly perSourceMax: number;
  /** Connections at once, finished or not; they are short when more than half of them are there. */
  readonly sessionsMax: number;
  /** This connection of this source has to go: the owner destroys it. */
  readonly cut: (socket: S, source: string) => void;
}

/** The unfinished handshakes of one listener. */
export class Handshakes<S extends HandshakeSocket> {
  readonly #options: HandshakesOptions<S>;
  /** By source, and in it by address and port; the oldest first. */
  readonly #sources = new Map<string, Map<string, S>>();
  /** Sources with more than their share. */
  readonly #crowded = new Set<string>();

  constructor(options: HandshakesOptions<S>) {
    this.#options = options;
  }

  /** A connection was accepted, and with it there are `open` of them. */
  begin(socket: S, open: number): void {
    const { remoteAddress, remotePort } = socket;
    // Gone already.
    if (remoteAddress === undefined) return;
    const source = sourceOf(remoteAddress);
    let sockets = this.#sources.get(source);
    if (sockets === undefined) {
      sockets = new Map();
      this.#sources.set(source, sockets);
    }
    // Of a connection of the same port that was before, the end is still to come.
    const key = keyOf(remoteAddress, remotePort);
    sockets.delete(key);
    sockets.set(key, socket);
    this.#judge(source, sockets);
    if (open > this.#options.sessionsMax / 2) this.#cutOne(source);
  }

  /** The handshake of a connection is finished. */
  finished({ remoteAddress, remotePort }: HandshakeSocket): void {
    if (remoteAddress !== undefined) this.#forget(remoteAddress, remotePort);
  }

  /** A connection that began here is closed. */
  closed(socket: S): void {
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined) return;
    const there = this.#sources.get(sourceOf(remoteAddress))?.get(keyOf(remoteAddress, remotePort));
    if (there === socket) this.#forget(remoteAddress, remotePort);
  }

  /** Closes the oldest of `own` when that has more than its share, or else of another source that has. */
  #cutOne(own: string): void {
    const [other] = this.#crowded;
    const source = this.#crowded.has(own) ? own : other;
    const oldest = source === undefined ? undefined : this.#sources.get(source)?.values().next().value;
    if (source === undefined || oldest?.remoteAddress === undefined) return;
    this.#forget(oldest.remoteAddress, oldest.remotePort);
    this.#options.cut(oldest, source);
  }

  #forget(address: string, port: number | undefined): void {
    const source = sourceOf(address);
    const sockets = this.#sources.get(source);
    if (sockets?.delete(keyOf(address, port)) !== true) return;
    if (sockets.size === 0) this.#sources.delete(source);
    this.#judge(source, sockets);
  }

  #judge(source: string, { size }: ReadonlyMap<string, S>): void {
    if (size > this.#options.perSourceMax) this.#crowded.add(source);
    else this.#crowded.delete(source);
  }
}

/** Whom an address stands for: itself for IPv4, its network of 64 bits, which one subscriber has, for IPv6. */
export function sourceOf(address: string): string {
  // IPv4 also as the IPv6 address that a socket for both shows.
  if (address.includes(".")) return address.slice(address.lastIndexOf(":") + 1);
  const [head = "", tail] = address.replace(/%.*$/, "").split("::");
  const groups = (text = ""): readonly string[] => (text === "" ? [] : text.split(":"));
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups(head).length - groups(tail).length);
  return `${[...groups(head), ...Array<string>(zeros).fill("0"), ...groups(tail)].slice(0, 4).join(":")}::/64`;
}

const keyOf = (address: string, port: number | undefined): string => `${address} ${port}`;
