/** What every `MailboxStore` has to do. Called from a test file of each implementation. */
import { asUnixMs, type MailboxStore, parseAgentId, type StoredMail } from "@causeway/core-base";
import { describe, expect, test } from "vitest";

/** How the suite gets at an implementation. */
export interface MailboxStoreSubject {
  create(): MailboxStore;
  /** What a restart after `kill -9` would find; the store before may not be used any more. */
  reopen(store: MailboxStore): MailboxStore;
}

const bob = parseAgentId("blue.example/travel/bob");
const at = asUnixMs(1_800_000_000_000);
const expired = { code: "CAUSEWAY_FORWARDING_EXPIRED", message: "it was too late", details: { limit: "x" } } as const;

const contentOf = (sequence: number): Uint8Array =>
  Uint8Array.from({ length: 40 + (sequence % 7) }, (_, i) => (sequence * 31 + i) & 0xff);

/** Metadata that uses every field; the id holds bytes of all kinds. */
function mailOf(sequence: number, more: Partial<StoredMail> = {}): StoredMail {
  return {
    sequence,
    agentId: bob,
    instance: sequence % 2 === 0 ? "" : "phone",
    source: "spiffe://green.example/people/alice/@laptop",
    id: String.fromCharCode(...Array.from({ length: 16 }, (_, i) => (sequence * 17 + i * 16) & 0xff)),
    bytes: contentOf(sequence).length,
    storedAt: at,
    expiresAt: asUnixMs(at + 86_400_000),
    isTraced: sequence % 3 === 0,
    ...more,
  };
}

/** Appends with the frame inside a larger buffer, which is overwritten afterwards. */
function put(store: MailboxStore, ...sequences: readonly number[]): void {
  for (const sequence of sequences) {
    const content = contentOf(sequence);
    const buffer = new Uint8Array(content.length + 10);
    buffer.set(content, 5);
    store.append(mailOf(sequence), buffer, 5, 5 + content.length);
    buffer.fill(0xee);
  }
}

function frameOf(store: MailboxStore, sequence: number): readonly number[] | undefined {
  const frame = store.frame(sequence);
  return frame && [...frame.buffer.subarray(frame.start, frame.end)];
}

/** Declares the suite. */
export function mailboxStoreContract(name: string, subject: MailboxStoreSubject): void {
  describe(`${name}: mailbox store`, () => {
    test("what was committed is there after kill -9, with every field and byte [AGP-58]", () => {
      const store = subject.create();
      put(store, 1, 2, 3);
      store.commit();
      put(store, 4);
      store.commit();
      const again = subject.reopen(store);
      const { waiting, dead, lastSequence } = again.load();
      expect(waiting).toEqual([1, 2, 3, 4].map((sequence) => mailOf(sequence)));
      expect(dead).toEqual([]);
      expect(lastSequence).toBe(4);
      for (const sequence of [3, 1, 4, 2]) expect(frameOf(again, sequence)).toEqual([...contentOf(sequence)]);
    });

    test("the bytes of a frame stay as they are until the commit after the next [AGP-58]", () => {
      const store = subject.create();
      let sequence = 0;
      let handedOn: { readonly turn: number; readonly content: readonly number[]; readonly frame: Uint8Array }[] = [];
      for (let turn = 0; turn < 20; turn++) {
        const fresh = Array.from({ length: 1 + (turn % 3) }, () => ++sequence);
        put(store, ...fresh);
        for (const { content, frame } of handedOn) expect([...frame]).toEqual(content);
        store.commit();
        handedOn = handedOn.filter((each) => each.turn === turn - 1);
        for (const each of fresh) {
          const frame = store.frame(each);
          if (frame === undefined) throw new Error(`${each} is not held`);
          const bytes = frame.buffer.subarray(frame.start, frame.end);
          handedOn.push({ turn, content: [...contentOf(each)], frame: bytes });
        }
      }
    });

    test("what was not committed is gone after kill -9, and can be read before", () => {
      const store = subject.create();
      put(store, 1);
      store.commit();
      put(store, 2);
      expect(frameOf(store, 2)).toEqual([...contentOf(2)]);
      const { waiting } = subject.reopen(store).load();
      expect(waiting.map((mail) => mail.sequence)).toEqual([1]);
    });

    test("a forgotten message can be read until the commit and is gone for good after it", () => {
      const store = subject.create();
      put(store, 1, 2);
      store.commit();
      store.remove(1);
      expect(frameOf(store, 1)).toEqual([...contentOf(1)]);
      store.commit();
      expect(store.frame(1)).toBeUndefined();
      const again = subject.reopen(store);
      expect(again.load().waiting.map((mail) => mail.sequence)).toEqual([2]);
      expect(again.frame(1)).toBeUndefined();
    });

    test("a dead letter keeps its reason and its frame, and can come back with a new end [AGP-58]", () => {
      const store = subject.create();
      put(store, 1, 2);
      store.commit();
      store.bury(2, asUnixMs(at + 5), expired);
      store.bury(1, asUnixMs(at + 9), expired);
      store.commit();
      const again = subject.reopen(store);
      expect(again.load()).toMatchObject({
        waiting: [],
        dead: [
          { mail: mailOf(2), at: at + 5, error: expired },
          { mail: mailOf(1), at: at + 9, error: expired },
        ],
      });
      expect(frameOf(again, 1)).toEqual([...contentOf(1)]);
      again.revive(1, asUnixMs(at + 99));
      again.commit();
      const last = subject.reopen(again).load();
      expect(last.waiting).toEqual([mailOf(1, { expiresAt: asUnixMs(at + 99) })]);
      expect(last.dead).toHaveLength(1);
    });

    test("many turns of storing and forgetting leave what is held, and no number is used twice", () => {
      let store = subject.create();
      let sequence = 0;
      const held = new Set<number>();
      for (let turn = 0; turn < 60; turn++) {
        for (let i = 0; i < 20; i++) {
          put(store, ++sequence);
          held.add(sequence);
        }
        // Every seventeenth stays.
        for (const each of held) {
          if (each % 17 === 0) continue;
          store.remove(each);
          held.delete(each);
        }
        store.commit();
        if (turn % 20 === 19) {
          store = subject.reopen(store);
          const { waiting, lastSequence } = store.load();
          expect(waiting.map((mail) => mail.sequence)).toEqual([...held]);
          expect(lastSequence).toBeGreaterThanOrEqual(Math.max(...held));
          for (const each of held) expect(frameOf(store, each)).toEqual([...contentOf(each)]);
        }
      }
    });

    test("marks for what is not held change nothing", () => {
      const store = subject.create();
      store.remove(7);
      store.bury(7, at, expired);
      store.revive(7, at);
      store.commit();
      expect(subject.reopen(store).load()).toMatchObject({ waiting: [], dead: [] });
    });
  });
}
