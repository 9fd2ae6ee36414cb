import fs, {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import {
  asUnixMs,
  type Log,
  type MailboxStore,
  parseAgentId,
  type StoredFrame,
  type StoredMail,
  silentLog,
} from "@causeway/core-base";
import { mailboxStoreContract } from "@causeway/testing-contracts";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { openMailboxStore } from "./mailbox-store.ts";

const root = mkdtempSync(join(tmpdir(), "causeway-segments-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folders = 0;
const newFolder = (): string => join(root, `mailbox-${folders++}`);
const folderOf = new WeakMap<MailboxStore, string>();

function openAt(directory: string, segmentBytes?: number, sync?: "os" | "always"): MailboxStore {
  const store = openMailboxStore({ directory, ...(segmentBytes && { segmentBytes }), ...(sync && { sync }) });
  folderOf.set(store, directory);
  return store;
}

function reopened(store: MailboxStore): string {
  const directory = folderOf.get(store);
  if (directory === undefined) throw new Error("not a store of this test");
  // No close: a killed process does not close either.
  return directory;
}

mailboxStoreContract("segments", {
  create: () => openAt(newFolder()),
  reopen: (store) => openAt(reopened(store)),
});
mailboxStoreContract("segments of 2 KB, synced", {
  create: () => openAt(newFolder(), 2_048, "always"),
  reopen: (store) => openAt(reopened(store), 2_048, "always"),
});

const mailOf = (sequence: number, bytes: number): StoredMail => ({
  sequence,
  agentId: parseAgentId("blue.example/bob"),
  instance: "",
  source: "spiffe://blue.example/alice",
  id: String(sequence).padStart(16, "0"),
  bytes,
  storedAt: asUnixMs(1),
  expiresAt: asUnixMs(2),
  isTraced: false,
});
const put = (store: MailboxStore, sequence: number, bytes = 1_000): void => {
  store.append(mailOf(sequence, bytes), new Uint8Array(bytes).fill(sequence & 0xff), 0, bytes);
};
const held = (store: MailboxStore): readonly number[] => store.load().waiting.map((mail) => mail.sequence);
const filesOf = (directory: string): readonly string[] => readdirSync(directory).sort();
const thrownBy = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
};

type Call = "writeSync" | "readFileSync" | "fsyncSync" | "rmSync";

/** While `work` runs, these calls fail. */
function failing(code: string, calls: readonly Call[], work: () => void): void {
  const originals = calls.map((call) => [call, fs[call]] as const);
  for (const call of calls) {
    Object.assign(fs, {
      [call]: () => {
        throw Object.assign(new Error(`${code}: made to fail`), { code });
      },
    });
  }
  syncBuiltinESMExports();
  try {
    work();
  } finally {
    Object.assign(fs, Object.fromEntries(originals));
    syncBuiltinESMExports();
  }
}

const openFiles = (): number => readdirSync("/proc/self/fd").length;

/** A store of small files, the first of which is kept by message 1 and worth moving at the next commit. */
function wasteful(): { store: MailboxStore; directory: string; first: string; warnings: unknown[]; next: () => void } {
  const directory = newFolder();
  const warnings: unknown[] = [];
  const warn: Log["warn"] = (event, fields) => warnings.push({ event, ...fields });
  const store = openMailboxStore({ directory, segmentBytes: 2_000, log: { ...silentLog, warn } });
  put(store, 1, 50);
  put(store, 2, 50);
  store.commit();
  let sequence = 10;
  const next = (): void => {
    store.remove(sequence);
    put(store, ++sequence);
    store.commit();
  };
  while (store.diskBytes() < 8_500) next();
  const [first = ""] = filesOf(directory);
  expect(first).toBe("0000000001.mail");
  return { store, directory, first, warnings, next };
}

/** A file whose first batch is as long as that of `wasteful`. */
function otherFile(): Buffer {
  const directory = newFolder();
  const store = openAt(directory);
  put(store, 3, 50);
  put(store, 4, 50);
  store.commit();
  return readFileSync(join(directory, "0000000001.mail"));
}

describe("segment files", () => {
  test("a write that was cut off anywhere loses its own turn and nothing before it [AGP-58]", () => {
    const directory = newFolder();
    const store = openAt(directory);
    for (let sequence = 1; sequence <= 3; sequence++) {
      put(store, sequence, 200);
      store.commit();
    }
    const [name = ""] = filesOf(directory);
    const whole = readFileSync(join(directory, name));
    const turn = (whole.length - 8) / 3;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: whole.length }), (length) => {
        const copy = newFolder();
        openAt(copy).close();
        writeFileSync(join(copy, name), whole.subarray(0, length));
        const again = openAt(copy);
        const kept = Math.max(0, Math.floor((length - 8) / turn));
        expect(held(again)).toEqual([1, 2, 3].slice(0, kept));
        put(again, 9);
        again.commit();
        expect(held(openAt(copy))).toEqual([...[1, 2, 3].slice(0, kept), 9]);
      }),
      { numRuns: 60 },
    );
  });

  test("a damaged file that is not the end of the log is refused with what to do, and left alone", () => {
    const directory = newFolder();
    const store = openAt(directory, 2_000);
    for (let sequence = 1; sequence <= 9; sequence++) {
      put(store, sequence);
      store.commit();
    }
    const [name = ""] = filesOf(directory);
    const path = join(directory, name);
    const content = readFileSync(path);
    content[500] = (content[500] ?? 0) ^ 1;
    writeFileSync(path, content);
    expect(thrownBy(() => openAt(directory, 2_000))).toMatchObject({
      code: "CAUSEWAY_STORE_FAILED",
      message: expect.stringContaining("move it away"),
    });
    expect(readFileSync(path)).toEqual(content);
  });

  test("damage in the middle of the newest file is no write that was cut off: it is refused too", () => {
    const directory = newFolder();
    const store = openAt(directory);
    for (let sequence = 1; sequence <= 3; sequence++) {
      put(store, sequence);
      store.commit();
    }
    const path = join(directory, filesOf(directory)[0] ?? "");
    const content = readFileSync(path);
    content[600] = (content[600] ?? 0) ^ 1;
    writeFileSync(path, content);
    expect(thrownBy(() => openAt(directory))).toMatchObject({ code: "CAUSEWAY_STORE_FAILED" });
    expect(readFileSync(path)).toEqual(content);
  });

  test("files that hold nothing any more are deleted; what is left of old ones is moved when space is wasted", () => {
    const directory = newFolder();
    const store = openAt(directory, 20_000);
    let most = 0;
    for (let sequence = 1; sequence <= 2_000; sequence++) {
      put(store, sequence);
      // One of the first stays to the end and would keep every file after it.
      if (sequence > 5 && sequence % 10 === 0) for (let back = 0; back < 10; back++) store.remove(sequence - back);
      if (sequence % 5 === 0) store.commit();
      most = Math.max(most, store.diskBytes());
    }
    put(store, 3_000);
    store.commit();
    expect(most).toBeLessThan(20_000 * 8);
    const onDisk = filesOf(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
    expect(onDisk).toBe(store.diskBytes());
    expect(held(openAt(directory, 20_000))).toEqual([3_000]);
  });

  test("moved messages keep their content, their end and their being dead", () => {
    const directory = newFolder();
    const store = openAt(directory, 4_000);
    put(store, 1, 50);
    put(store, 2, 50);
    store.commit();
    store.bury(2, asUnixMs(7), { code: "CAUSEWAY_MAILBOX_ATTEMPTS", message: "too often" });
    store.revive(1, asUnixMs(99));
    store.commit();
    const first = filesOf(directory)[0];
    for (let sequence = 10; sequence < 200; sequence++) {
      put(store, sequence);
      store.commit();
      store.remove(sequence);
    }
    store.commit();
    expect(filesOf(directory)).not.toContain(first);
    const again = openAt(directory, 4_000);
    expect(again.load()).toMatchObject({
      waiting: [{ sequence: 1, expiresAt: 99 }],
      dead: [{ mail: { sequence: 2 }, at: 7, error: { code: "CAUSEWAY_MAILBOX_ATTEMPTS" } }],
    });
    const frame = again.frame(1);
    expect(frame?.buffer.subarray(frame.start, frame.end)).toEqual(Buffer.alloc(50, 1));
  });

  test("when the disk refuses, nothing of the turn is kept and the store goes on", () => {
    const directory = newFolder();
    const store = openAt(directory, 3_000);
    put(store, 1);
    store.commit();
    // The next file cannot be made where a folder has its name.
    put(store, 2, 5_000);
    store.commit();
    const blocked = join(directory, "0000000002.mail");
    writeFileSync(blocked, "");
    put(store, 3);
    store.remove(1);
    expect(thrownBy(() => store.commit())).toMatchObject({ code: "CAUSEWAY_STORE_FAILED" });
    expect(store.frame(3)).toBeUndefined();
    rmSync(blocked);
    put(store, 4);
    store.commit();
    expect(held(openAt(directory, 3_000))).toEqual([2, 4]);
  });

  test.each([
    { code: "ENOSPC", call: "writeSync", says: "CAUSEWAY_STORE_FULL" },
    { code: "EIO", call: "fsyncSync", says: "CAUSEWAY_STORE_FAILED" },
  ] as const)("a file that could not be begun ($call: $code) leaves nothing behind, and a retry works", (failure) => {
    const directory = newFolder();
    const store = openAt(directory, 1_000, "always");
    put(store, 1);
    store.commit();
    const before = { files: filesOf(directory), bytes: store.diskBytes(), open: openFiles() };
    for (let attempt = 0; attempt < 3; attempt++) {
      put(store, 2);
      failing(failure.code, [failure.call], () => {
        expect(thrownBy(() => store.commit())).toMatchObject({ code: failure.says });
      });
      expect({ files: filesOf(directory), bytes: store.diskBytes(), open: openFiles() }).toEqual(before);
    }
    put(store, 3);
    store.commit();
    expect(held(openAt(directory, 1_000))).toEqual([1, 3]);
  });

  test("the first error is the one that is told when the file that was begun cannot be deleted either", () => {
    const store = openAt(newFolder(), 1_000);
    put(store, 1);
    store.commit();
    put(store, 2);
    failing("ENOSPC", ["writeSync", "rmSync"], () => {
      expect(thrownBy(() => store.commit())).toMatchObject({ code: "CAUSEWAY_STORE_FULL" });
    });
  });

  test("a commit succeeds when only old files cannot be deleted, and says so; they go later", () => {
    const directory = newFolder();
    const warnings: unknown[] = [];
    const warn: Log["warn"] = (event, fields) => warnings.push({ event, ...fields });
    const store = openMailboxStore({ directory, segmentBytes: 1_000, log: { ...silentLog, warn } });
    put(store, 1);
    store.commit();
    put(store, 2);
    store.remove(1);
    failing("EACCES", ["rmSync"], () => store.commit());
    expect(warnings).toEqual([
      { event: "mailbox.reclaim_failed", code: "CAUSEWAY_STORE_FAILED", reason: expect.stringContaining("EACCES") },
    ]);
    // What is on the disk is in the books, so that nothing that was forgotten comes back with it.
    expect(filesOf(directory)).toHaveLength(2);
    expect(store.diskBytes()).toBe(
      filesOf(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0),
    );
    expect(held(openAt(directory, 1_000))).toEqual([2]);
    put(store, 3);
    store.commit();
    expect(filesOf(directory)).toEqual(["0000000002.mail", "0000000003.mail"]);
    expect(held(openAt(directory, 1_000))).toEqual([2, 3]);
  });

  test("a commit succeeds when what is left of an old file cannot be read to be moved; it is moved later", () => {
    const { store, directory, first, warnings, next } = wasteful();
    failing("EIO", ["readFileSync"], () => {
      for (let i = 0; warnings.length === 0 && i < 10; i++) next();
    });
    expect(warnings).toMatchObject([{ event: "mailbox.reclaim_failed", reason: expect.stringContaining("EIO") }]);
    expect(filesOf(directory)).toContain(first);
    for (let i = 0; i < 4; i++) next();
    expect(filesOf(directory)).not.toContain(first);
    expect(held(openAt(directory, 2_000))).toEqual(held(store));
    expect(held(store)).toEqual(expect.arrayContaining([1, 2]));
  });

  test.each([
    // In the frame of the first message: its whole batch does not count any more.
    ["a batch is damaged", (content: Buffer) => content.fill((content[150] ?? 0) ^ 1, 150, 151)],
    ["a later batch is damaged", (content: Buffer) => content.fill((content[999] ?? 0) ^ 1, 999, 1_000)],
    ["a batch is missing at the end", (content: Buffer) => content.subarray(0, 8)],
    [
      "it holds other messages",
      (content: Buffer) => Buffer.concat([otherFile(), content.subarray(otherFile().length)]),
    ],
  ])("an old file in which less can be read than is held is kept and told of: %s", (_name, change) => {
    const { store, directory, first, warnings, next } = wasteful();
    const path = join(directory, first);
    const content = change(readFileSync(path));
    writeFileSync(path, content);
    const growths = Array.from({ length: 20 }, () => {
      const before = store.diskBytes();
      next();
      return store.diskBytes() - before;
    });
    expect(readFileSync(path)).toEqual(content);
    // Nothing of what was to be moved is written with a later commit; a new file has a header of 8 bytes.
    expect(Math.max(...growths) - Math.min(...growths)).toBe(8);
    expect(warnings[0]).toMatchObject({ event: "mailbox.reclaim_failed", reason: expect.stringContaining("damaged") });
    // Not with every commit: reading the file each time would hold up everything else.
    expect(warnings.length).toBeLessThan(15);
    store.remove(1);
    store.remove(2);
    for (let i = 0; i < 4; i++) next();
    expect(filesOf(directory)).not.toContain(first);
  });

  test("a file of something else is refused", () => {
    const directory = newFolder();
    openAt(directory).close();
    writeFileSync(join(directory, "0000000001.mail"), "This is not a mailbox, but somebody's notes.");
    expect(thrownBy(() => openAt(directory))).toMatchObject({ code: "CAUSEWAY_STORE_FAILED" });
  });

  test("a file of another format is refused with what it is and what to do", () => {
    const directory = newFolder();
    const path = join(directory, "0000000001.mail");
    openAt(directory).close();
    writeFileSync(path, Buffer.from([0x43, 0x57, 0x4d, 0x42, 1, 0, 0, 0]));
    const thrown = thrownBy(() => openAt(directory));
    expect(thrown).toMatchObject({ code: "CAUSEWAY_STORE_FAILED" });
    expect(String(thrown)).toMatch(/of format 1, expected 2\. Use the version of the gateway that wrote it/);
    expect(readFileSync(path)).toHaveLength(8);
  });

  test("a header that is damaged behind its version is damage, and no other format", () => {
    const directory = newFolder();
    openAt(directory).close();
    writeFileSync(join(directory, "0000000001.mail"), Buffer.from([0x43, 0x57, 0x4d, 0x42, 2, 0, 1, 0]));
    expect(String(thrownBy(() => openAt(directory)))).toMatch(/is damaged at byte 0/);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1, 1.5, 2 ** 53])(
    "a record with a sequence that none can have is damage, in every kind of record: %d",
    (sequence) => {
      const changes: readonly (readonly [at: number, change: (store: MailboxStore) => void])[] = [
        [2, (store) => put(store, 3)],
        [1, (store) => store.bury(1, asUnixMs(3), { code: "CAUSEWAY_INTERNAL", message: "" })],
        [1, (store) => store.revive(1, asUnixMs(3))],
        [5, (store) => store.remove(1)],
      ];
      for (const [at, change] of changes) {
        const directory = newFolder();
        const path = join(directory, "0000000001.mail");
        const store = openAt(directory);
        put(store, 1);
        put(store, 2);
        store.commit();
        const before = store.diskBytes();
        change(store);
        store.commit();
        const content = readFileSync(path);
        const body = content.subarray(before + 8);
        body.writeDoubleLE(sequence, at);
        content.writeUInt32LE(crc32(body), before + 4);
        writeFileSync(path, content);
        expect(thrownBy(() => openAt(directory))).toMatchObject({
          code: "CAUSEWAY_STORE_FAILED",
          message: expect.stringContaining(`damaged at byte ${before}`),
        });
        expect(readFileSync(path)).toEqual(content);
      }
    },
  );

  test("a batch of any size that is looked at before its commit is read back whole, with what was undone before", () => {
    const bytes = fc.oneof(fc.nat(20_000), fc.constantFrom(262_000, 262_144, 300_000, 600_000));
    const batch = fc.record({
      bytes: fc.array(bytes, { minLength: 1, maxLength: 8 }),
      looksAt: fc.nat(7),
      fails: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(batch, { minLength: 1, maxLength: 4 }), (batches) => {
        const store = openAt(newFolder());
        const expected = new Map<number, number>();
        let sequence = 0;
        for (const { bytes: sizes, looksAt, fails } of batches) {
          const first = sequence + 1;
          for (const size of sizes) {
            put(store, ++sequence, size);
            if (!fails) expected.set(sequence, size);
            if (sequence - first === looksAt) expect(store.frame(first)).toBeDefined();
          }
          if (fails) failing("ENOSPC", ["writeSync"], () => expect(thrownBy(() => store.commit())).toBeDefined());
          else store.commit();
        }
        const again = openAt(reopened(store));
        expect(held(again)).toEqual([...expected.keys()]);
        for (const [each, size] of expected) {
          const { buffer, start, end } = again.frame(each) as StoredFrame;
          expect(Buffer.alloc(size, each & 0xff).equals(buffer.subarray(start, end))).toBe(true);
        }
        rmSync(reopened(store), { recursive: true });
      }),
      { numRuns: 30 },
    );
  });

  test("names are written once for messages that follow each other, and each message keeps its own", () => {
    const store = openAt(newFolder());
    const names = ["alice", "alice", "bob", "alice", "alice"];
    const agents = [
      "blue.example/bob",
      "blue.example/bob",
      "blue.example/bob",
      "green.example/eve",
      "green.example/eve",
    ];
    const mails = names.map((name, i) => ({
      ...mailOf(i + 1, 100),
      source: `spiffe://blue.example/${name}`,
      agentId: parseAgentId(agents[i] ?? ""),
      instance: i === 4 ? "main" : "",
    }));
    const sizes = mails.map((mail) => {
      store.append(mail, Buffer.alloc(100, mail.sequence), 0, 100);
      const before = store.diskBytes();
      // Each pair in a commit of its own: a batch stands for itself.
      if (mail.sequence % 2 === 0) store.commit();
      return store.diskBytes() - before;
    });
    store.commit();
    const again = openAt(reopened(store));
    expect(again.load().waiting).toEqual(mails);
    for (const { sequence } of mails) {
      const { buffer, start, end } = again.frame(sequence) as StoredFrame;
      expect(buffer.subarray(start, end)).toEqual(Buffer.alloc(100, sequence));
    }
    const namesOf = (at: number): number => {
      const { agentId, source, instance } = mails[at] as StoredMail;
      return 5 + agentId.length + source.length + instance.length;
    };
    // With the first batch came the file's header.
    expect((sizes[3] ?? 0) - (sizes[1] ?? 0)).toBe(namesOf(2) + namesOf(3) - namesOf(0) - 8);
  });

  test("places of messages that are far apart are found, and forgotten with them", () => {
    const store = openAt(newFolder());
    const sequences = [1, 31, 32, 33, 4_000, 1_000_000, 2 ** 33, 2 ** 33 + 1, 2 ** 40];
    for (const sequence of sequences) put(store, sequence);
    store.commit();
    for (const sequence of sequences) expect(store.frame(sequence), `${sequence}`).toBeDefined();
    for (const sequence of [0, 2, 30, 34, 2 ** 33 + 2, 2 ** 40 + 32]) expect(store.frame(sequence)).toBeUndefined();
    for (const sequence of [31, 32, 2 ** 33 + 1]) store.remove(sequence);
    store.commit();
    const left = [1, 33, 4_000, 1_000_000, 2 ** 33, 2 ** 40];
    expect(sequences.filter((sequence) => store.frame(sequence) !== undefined)).toEqual(left);
    expect(held(openAt(reopened(store)))).toEqual(left);
  });

  test("a file that was being made when the process died is no obstacle", () => {
    const directory = newFolder();
    const store = openAt(directory);
    put(store, 1);
    store.commit();
    closeSync(openSync(join(directory, "0000000002.mail"), "w"));
    const again = openAt(directory);
    put(again, 2);
    again.commit();
    expect(held(openAt(directory))).toEqual([1, 2]);
    const fd = openSync(join(directory, "0000000002.mail"), "r+");
    ftruncateSync(fd, 3);
    closeSync(fd);
    expect(held(openAt(directory))).toEqual([1]);
  });
});
