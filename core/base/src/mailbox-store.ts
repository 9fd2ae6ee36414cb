/**
 * What a gateway keeps of messages for agents that are away, as a port. Written so that a store can be a log: messages
 * are appended, marks say what becomes of them, and everything of one turn of the event loop is made durable by one
 * `commit`. Contents are opaque bytes.
 */
import type { ErrorFacts } from "./errors.ts";
import type { AgentId } from "./ids.ts";
import type { UnixMs } from "./time.ts";

/** Metadata of one stored message. */
export interface StoredMail {
  /** Number of the message in this store; grows, so that it is also the order. */
  readonly sequence: number;
  /** Whose mailbox it is in. */
  readonly agentId: AgentId;
  /** The one instance that it is for; empty for any. */
  readonly instance: string;
  /** SPIFFE ID of the sender, as in the header. */
  readonly source: string;
  /** The 16 bytes of the message id, one character each. */
  readonly id: string;
  /** Size of the frame. */
  readonly bytes: number;
  readonly storedAt: UnixMs;
  readonly expiresAt: UnixMs;
  /** True when its sender asked for hop records. */
  readonly isTraced: boolean;
}

/** A message that was given up: since when, and why. */
export interface DeadMail {
  readonly mail: StoredMail;
  readonly at: UnixMs;
  readonly error: ErrorFacts;
}

/** What a store holds at its start. */
export interface MailboxContents {
  /** By sequence. */
  readonly waiting: readonly StoredMail[];
  /** By the time of their end. */
  readonly dead: readonly DeadMail[];
  /** The highest sequence that was ever used. */
  readonly lastSequence: number;
}

/** Bytes `start` to `end` of `buffer`. They stay as they are until the commit after the next. */
export interface StoredFrame {
  readonly buffer: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/**
 * The mailboxes of one gateway on its disk. Everything but `commit` takes effect in memory and is written with the next
 * `commit`; a crash before it may forget any of it, in the order from the newest.
 */
export interface MailboxStore {
  /** Everything held, as of the last commit. */
  load(): MailboxContents;
  /** Adds a message whose frame is the bytes `start` to `end`, which are copied. */
  append(mail: StoredMail, buffer: Uint8Array, start: number, end: number): void;
  /** Forgets a message, waiting or dead. */
  remove(sequence: number): void;
  /** Makes a waiting message a dead one. */
  bury(sequence: number, at: UnixMs, error: ErrorFacts): void;
  /** Makes a dead message a waiting one again, with a new end. */
  revive(sequence: number, expiresAt: UnixMs): void;
  /**
   * Writes what is new. What was appended is stored when it returns. Throws `CAUSEWAY_STORE_FULL` or
   * `CAUSEWAY_STORE_FAILED`: then nothing that was appended since the last commit is kept, and marks wait for the next.
   */
  commit(): void;
  /** The frame of a message that is held; undefined for one that is not. Throws `CAUSEWAY_STORE_FAILED`. */
  frame(sequence: number): StoredFrame | undefined;
  /** Bytes that the store uses on the disk. */
  diskBytes(): number;
  close(): void;
}

/** The 16 bytes of a message id at `at`, one character each: a key that costs little to make. */
export function mailId(buf: Uint8Array, at: number): string {
  const b = (i: number): number => buf[at + i] ?? 0;
  return String.fromCharCode(
    b(0),
    b(1),
    b(2),
    b(3),
    b(4),
    b(5),
    b(6),
    b(7),
    b(8),
    b(9),
    b(10),
    b(11),
    b(12),
    b(13),
    b(14),
    b(15),
  );
}

/** The bytes of a message id again. */
export function mailIdBytes(id: string): Uint8Array {
  const bytes = new Uint8Array(id.length);
  for (let i = 0; i < id.length; i++) bytes[i] = id.charCodeAt(i);
  return bytes;
}
