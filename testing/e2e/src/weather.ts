/** A TCP proxy with the weather of a bad network: delay, stalls as retransmissions make them, silence. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** What happens to bytes on their way. */
export interface Weather {
  readonly delayMs: number;
  /** Probability that a piece is lost once: it, and all behind it, come a retransmission later. */
  readonly loss: number;
}

/** The least time-out of TCP's retransmission on Linux. */
const retransmissionMs = 200;

export class WeatherProxy implements AsyncDisposable {
  weather: Weather = { delayMs: 0, loss: 0 };
  /** While true nothing passes in either direction, and nobody is told: the connection is half-open to both. */
  isSilent = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #port = 0;

  constructor(port: number) {
    this.#server = createServer((client) => {
      const upstream = connect(port, "127.0.0.1");
      this.#pass(client, upstream);
      this.#pass(upstream, client);
    });
  }

  /** Listens in front of `port`. */
  static async before(port: number): Promise<WeatherProxy> {
    const proxy = new WeatherProxy(port);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    proxy.#port = (proxy.#server.address() as AddressInfo).port;
    return proxy;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** Open connections, both ends counted. */
  get connections(): number {
    return this.#sockets.size;
  }

  #pass(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    let freeAt = 0;
    from.setNoDelay(true);
    from.on("data", (chunk: Buffer) => {
      if (this.isSilent) return;
      const { delayMs, loss } = this.weather;
      const now = performance.now();
      // In order, as TCP hands it over: what is behind a lost piece waits for it.
      freeAt = Math.max(freeAt, now + delayMs + (Math.random() < loss ? delayMs + retransmissionMs : 0));
      setTimeout(() => to.write(chunk), freeAt - now);
    });
    from.on("end", () => {
      if (!this.isSilent) setTimeout(() => to.end(), Math.max(0, freeAt - performance.now()));
    });
    from.on("error", () => to.destroy());
    from.on("close", () => this.#sockets.delete(from));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
