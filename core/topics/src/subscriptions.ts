/**
 * Patterns and who wants them: exact topics and `prefix/*`. A lookup costs one step for each segment of the topic,
 * whatever the number of patterns.
 */
import type { TopicName, TopicPattern } from "./topic-name.ts";

/** A set of (pattern, subscriber) pairs. */
export class PatternIndex<S> {
  readonly #byPattern = new Map<string, Set<S>>();

  /** Number of different patterns. */
  get size(): number {
    return this.#byPattern.size;
  }

  has(pattern: TopicPattern): boolean {
    return this.#byPattern.has(pattern);
  }

  /** True when the pair is new. */
  add(pattern: TopicPattern, subscriber: S): boolean {
    const held = this.#byPattern.get(pattern);
    if (held === undefined) {
      this.#byPattern.set(pattern, new Set([subscriber]));
      return true;
    }
    if (held.has(subscriber)) return false;
    held.add(subscriber);
    return true;
  }

  /** True when the pair was there. */
  delete(pattern: TopicPattern, subscriber: S): boolean {
    const held = this.#byPattern.get(pattern);
    if (held === undefined || !held.delete(subscriber)) return false;
    if (held.size === 0) this.#byPattern.delete(pattern);
    return true;
  }

  /** Adds everyone who wants the topic to `into`. */
  collect(topic: TopicName | string, into: Set<S>): void {
    addAll(this.#byPattern.get(topic), into);
    for (let cut = topic.lastIndexOf("/"); cut > 0; cut = topic.lastIndexOf("/", cut - 1)) {
      addAll(this.#byPattern.get(`${topic.slice(0, cut)}/*`), into);
    }
  }

  /** Every pattern that somebody wants, sorted. */
  patterns(): readonly TopicPattern[] {
    return [...this.#byPattern.keys()].sort() as TopicPattern[];
  }
}

function addAll<S>(from: ReadonlySet<S> | undefined, into: Set<S>): void {
  if (from !== undefined) for (const each of from) into.add(each);
}
