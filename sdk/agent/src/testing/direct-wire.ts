/** Direct links between agents in memory: each end has verified the other's certificate, and a test can cut them. */
import { asInstant, type CausewayError, refuse, type Scheduler } from "@causeway/core-base";
import type { SeededRandom } from "@causeway/core-base/testing";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { DirectListener, FrameSlice, GatewayLink } from "../connector.ts";
import type { TestIdentity } from "./test-domain.ts";

/** One side: who it is, and how it verifies the other. */
interface Side {
  readonly identity: () => TestIdentity;
  readonly verify: (other: TestIdentity) => VerifiedPeer;
}

interface Listening extends Side {
  readonly onLink: (link: GatewayLink) => void;
}

/** One end of a pair. */
class WireEnd implements GatewayLink {
  readonly peer: VerifiedPeer;
  readonly channelBinding = new Uint8Array(32);
  other: WireEnd | undefined;
  isOpen = true;
  readonly #wire: DirectWire;
  readonly #waiting: Uint8Array[] = [];
  #receive: ((frames: readonly FrameSlice[]) => void) | undefined;
  #onClose: (error?: CausewayError) => void = () => undefined;
  #isPaused = false;

  constructor(wire: DirectWire, peer: VerifiedPeer) {
    this.#wire = wire;
    this.peer = peer;
  }

  send(frame: Uint8Array): boolean {
    const copy = frame.slice();
    this.#wire.carried.push(copy);
    this.#wire.after(() => this.other?.take(copy));
    return this.isOpen;
  }

  onFrames(receive: (frames: readonly FrameSlice[]) => void): void {
    this.#receive = receive;
    this.#flush();
  }

  onWritable(): void {}

  onClose(run: (error?: CausewayError) => void): void {
    this.#onClose = run;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#flush();
  }

  close(error?: CausewayError): void {
    this.#wire.after(() => {
      this.end(error);
      this.other?.end(error);
    });
  }

  take(frame: Uint8Array): void {
    if (!this.isOpen) return;
    this.#waiting.push(frame);
    this.#flush();
  }

  end(error?: CausewayError): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#onClose(error);
  }

  #flush(): void {
    while (this.#receive && !this.#isPaused && this.#waiting.length > 0) {
      // As a real port does it: a Buffer, whose memory is used again.
      const buffer = Buffer.from(this.#waiting.shift() as Uint8Array);
      this.#receive([{ buffer, start: 0, end: buffer.length }]);
      buffer.fill(0);
    }
  }
}

export class DirectWire {
  /** Every frame that was put on a direct link. */
  readonly carried: Uint8Array[] = [];
  /** Every attempt to dial: who, and where. */
  readonly dialled: string[] = [];
  isUp = true;
  /** Dialling takes until this resolves. */
  held: Promise<void> = Promise.resolve();
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #listening = new Map<string, Listening>();
  readonly #ends = new Set<WireEnd>();
  #nextPort = 7_500;

  constructor(scheduler: Scheduler, random: SeededRandom) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  listen(side: Side, onLink: (link: GatewayLink) => void): DirectListener {
    const url = `https://127.0.0.1:${this.#nextPort++}`;
    this.#listening.set(url, { ...side, onLink });
    const close = async (): Promise<void> => {
      if (this.#listening.get(url)?.onLink === onLink) this.#listening.delete(url);
    };
    return { url, close };
  }

  /** Lets another agent listen where one did. */
  redirect(url: string, to: string): void {
    const listening = this.#listening.get(to);
    if (listening) this.#listening.set(url, listening);
  }

  /** What `from` gets when it dials: the end of whoever listens there. */
  dial(url: string, from: Side): GatewayLink {
    this.dialled.push(`${from.identity().spiffeId} ${url}`);
    const listening = this.#listening.get(url);
    if (!listening || !this.isUp) throw refuse("CAUSEWAY_UNREACHABLE", `nobody listens at ${url}`);
    const near = new WireEnd(this, from.verify(listening.identity()));
    const far = new WireEnd(this, listening.verify(from.identity()));
    [near.other, far.other] = [far, near];
    for (const end of [near, far]) this.#ends.add(end);
    listening.onLink(far);
    return near;
  }

  /** Breaks every link. What was under way is lost. */
  cutAll(): void {
    for (const end of this.#ends) end.end(refuse("CAUSEWAY_UNREACHABLE", "the direct link was cut"));
    this.#ends.clear();
  }

  /** Runs after a random delay of a few milliseconds, in the order of the calls. */
  after(run: () => void): void {
    const now = this.#scheduler.now().instant;
    this.#latest = Math.max(this.#latest, now + 1 + this.#random.below(3));
    this.#scheduler.at(asInstant(this.#latest), run);
  }

  #latest = 0;
}
