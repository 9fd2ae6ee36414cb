/** `MailboxStore` in memory: passes the contract, keeps nothing. For tests and the simulator. */
import type {
  DeadMail,
  ErrorFacts,
  MailboxContents,
  MailboxStore,
  StoredFrame,
  StoredMail,
  UnixMs,
} from "@causeway/core-base";

interface Place {
  readonly mail: StoredMail;
  readonly frame: StoredFrame;
  readonly dead?: { readonly at: UnixMs; readonly error: ErrorFacts };
}

/** A disk of its own; `afterCrash` is what a process finds on it that starts after this one was killed. */
export class MemoryMailboxStore implements MailboxStore {
  /** As of the last commit. */
  #disk = new Map<number, Place>();
  #places = new Map<number, Place>();
  #fresh = new Set<number>();
  #leaving = new Set<number>();
  #lastSequence = 0;
  /** Thrown by every commit while it is set. */
  failure: Error | undefined;
  commits = 0;

  /** What was not committed is gone. This store may go on, as a killed process in a test does, and changes nothing there. */
  afterCrash(): MemoryMailboxStore {
    const next = new MemoryMailboxStore();
    next.#disk = new Map(this.#disk);
    next.#places = new Map(this.#disk);
    next.#lastSequence = this.#lastSequence;
    return next;
  }

  load(): MailboxContents {
    const places = [...this.#places.values()].sort((a, b) => a.mail.sequence - b.mail.sequence);
    const dead = places.flatMap(({ mail, dead }): DeadMail[] => (dead === undefined ? [] : [{ mail, ...dead }]));
    return {
      waiting: places.filter((place) => place.dead === undefined).map((place) => place.mail),
      dead: dead.sort((a, b) => a.at - b.at),
      lastSequence: this.#lastSequence,
    };
  }

  append(mail: StoredMail, buffer: Uint8Array, start: number, end: number): StoredFrame {
    const frame = { buffer: new Uint8Array(buffer.subarray(start, end)), start: 0, end: end - start };
    this.#places.set(mail.sequence, { mail, frame });
    this.#fresh.add(mail.sequence);
    this.#lastSequence = Math.max(this.#lastSequence, mail.sequence);
    return frame;
  }

  remove(sequence: number): void {
    this.#leaving.add(sequence);
  }

  bury(sequence: number, at: UnixMs, error: ErrorFacts): void {
    const place = this.#places.get(sequence);
    if (place !== undefined) this.#places.set(sequence, { ...place, dead: { at, error } });
  }

  revive(sequence: number, expiresAt: UnixMs): void {
    const place = this.#places.get(sequence);
    if (place === undefined) return;
    this.#places.set(sequence, { mail: { ...place.mail, expiresAt }, frame: place.frame });
  }

  commit(): void {
    if (this.failure !== undefined) {
      for (const sequence of this.#fresh) this.#places.delete(sequence);
      this.#fresh.clear();
      throw this.failure;
    }
    this.commits++;
    for (const sequence of this.#leaving) this.#places.delete(sequence);
    this.#leaving.clear();
    this.#fresh.clear();
    this.#disk = new Map(this.#places);
  }

  frame(sequence: number): StoredFrame | undefined {
    return this.#places.get(sequence)?.frame;
  }

  diskBytes(): number {
    return [...this.#disk.values()].reduce((sum, { mail }) => sum + mail.bytes, 0);
  }

  close(): void {
    if (this.failure === undefined) this.commit();
  }
}
