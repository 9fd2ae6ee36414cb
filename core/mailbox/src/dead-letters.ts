import type { DeadMail, UnixMs } from "@causeway/core-base";
import type { MailboxLimits } from "./limits.ts";

/** Messages that were given up, for an operator to look at, replay or purge. The oldest go first. */
export class DeadLetters {
  readonly #limits: MailboxLimits;
  readonly #letters = new Map<number, DeadMail>();
  #bytes = 0;

  constructor(limits: MailboxLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#letters.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds one; answers those that have to go for it. */
  add(letter: DeadMail): readonly DeadMail[] {
    this.#letters.set(letter.mail.sequence, letter);
    this.#bytes += letter.mail.bytes;
    return this.#takeWhile(
      () => this.size > this.#limits.deadLettersMax || this.#bytes > this.#limits.deadLetterBytesMax,
    );
  }

  /** Takes out what has been here long enough. */
  takeOld(now: UnixMs): readonly DeadMail[] {
    return this.#takeWhile((first) => first.at + this.#limits.deadLetterMs <= now);
  }

  /** When the next one has been here long enough. */
  next(): UnixMs | undefined {
    const [first] = this.#letters.values();
    return first && ((first.at + this.#limits.deadLetterMs) as UnixMs);
  }

  remove(letter: DeadMail): void {
    if (this.#letters.delete(letter.mail.sequence)) this.#bytes -= letter.mail.bytes;
  }

  /** The oldest first. */
  all(): readonly DeadMail[] {
    return [...this.#letters.values()];
  }

  #takeWhile(isDue: (first: DeadMail) => boolean): readonly DeadMail[] {
    const taken: DeadMail[] = [];
    for (const first of this.#letters.values()) {
      if (!isDue(first)) break;
      this.remove(first);
      taken.push(first);
    }
    return taken;
  }
}
