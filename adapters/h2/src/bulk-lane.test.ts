import { FrameSplitter, Lane } from "@causeway/core-wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openBytesMax, shareOfBulk } from "./bulk-lane.ts";
import { bulkWindowBytesMin } from "./bulk-window.ts";
import { Outbox } from "./outbox.ts";
import { SlabPool } from "./slab.ts";
import { Turn } from "./turn.ts";

interface Write {
  readonly bytes: Uint8Array;
  readonly done: () => void;
}

const laneNamed = { u: Lane.urgent, b: Lane.bulk } as const;
type Name = keyof typeof laneNamed;

/** An outbox whose connection takes writes when it is told to. A frame begins with the letter of its lane. */
function world() {
  const open: Write[] = [];
  const writes: string[] = [];
  const splitter = new FrameSplitter();
  const frames: string[] = [];
  const outbox = new Outbox({
    sink: (bytes, done) => {
      open.push({ bytes: Buffer.from(bytes), done });
      writes.push(String.fromCharCode(bytes[5] ?? 0));
    },
    turn: new Turn(),
    slabs: new SlabPool(262_144, 2),
    onProgress: () => undefined,
    now: () => 0,
  });
  const take = (): boolean => {
    const next = open.shift();
    if (next === undefined) return false;
    const visit = (buffer: Uint8Array, start: number, end: number) =>
      void frames.push(Buffer.from(buffer.subarray(start, end)).toString("latin1"));
    expect(splitter.push(next.bytes, visit)).toBeUndefined();
    next.done();
    return true;
  };
  const add = (name: Name, text: string): void => {
    const frame = Buffer.from(text, "latin1");
    outbox.add(frame, 0, frame.length, laneNamed[name]);
  };
  /** Of the bulk lane, what the connection has and has not taken. */
  const bulkOpen = (): Write[] => open.filter(({ bytes }) => bytes[5] === 0x62);
  const flush = (): Promise<void> => new Promise((resolve) => setImmediate(() => resolve()));
  return { outbox, open, writes, frames, take, add, bulkOpen, flush };
}

const bytesOf = (writes: readonly Write[]): number => writes.reduce((sum, { bytes }) => sum + bytes.length, 0);

test("whatever comes in which lane, and whenever the connection takes it: each lane leaves once and in order, and little bulk is on its way [BEY-1]", async () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constantFrom("u" as const, "b" as const),
        length: fc.oneof(fc.integer({ min: 8, max: 3_000 }), fc.integer({ min: 8, max: 90_000 })),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("turn" as const) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("take" as const) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
      const { outbox, open, frames, take, add, bulkOpen, flush } = world();
      const sent: Record<Name, string[]> = { u: [], b: [] };
      for (const each of steps) {
        if (each.do === "turn") await flush();
        else if (each.do === "take") take();
        else {
          const text = `${each.do}${sent[each.do].length}:`.padEnd(each.length, "x");
          sent[each.do].push(text);
          add(each.do, text);
        }
        // One frame that is larger than the bound goes alone.
        const bulk = bulkOpen();
        expect(bulk.length <= 1 || bytesOf(bulk) <= openBytesMax).toBe(true);
      }
      for (let more = true; more; ) {
        await flush();
        more = take();
        while (take());
        more ||= open.length > 0;
      }
      for (const name of ["u", "b"] as const)
        expect(frames.filter((text) => text.startsWith(name))).toEqual(sent[name]);
      expect([outbox.bytes, outbox.bulkBytes]).toEqual([0, 0]);
    }),
    { numRuns: 60 },
  );
});

test("what is urgent leaves before bulk that was queued before it, and waits for no more than what is on its way [BEY-1]", async () => {
  const { writes, add, take, flush, bulkOpen } = world();
  for (let i = 0; i < 1_000; i++) add("b", "b".padEnd(1_000));
  add("u", "u".padEnd(1_000));
  await flush();
  expect(writes[0]).toBe("u");
  take();
  expect(bytesOf(bulkOpen())).toBeLessThanOrEqual(openBytesMax);
  const before = writes.length;
  add("u", "u".padEnd(1_000));
  await flush();
  expect(writes.slice(before)).toEqual(["u"]);
});

test("bulk is never starved: of a connection that urgent output uses up it has its share [BEY-1]", async () => {
  const { writes, open, add, take, flush } = world();
  let [urgent, bulk] = [0, 0];
  for (let round = 0; round < 400; round++) {
    // More than the connection takes, at any time.
    for (let i = 0; i < 20; i++) add("u", "u".padEnd(5_000));
    for (let i = 0; i < 20; i++) add("b", "b".padEnd(1_000));
    await flush();
    const next = open[0];
    if (next?.bytes[5] === 0x62) bulk += next.bytes.length;
    else urgent += next?.bytes.length ?? 0;
    take();
  }
  expect(new Set(writes)).toEqual(new Set(["u", "b"]));
  expect(bulk * shareOfBulk * 1.5).toBeGreaterThan(urgent);
  expect(bulk).toBeLessThan(urgent / 4);
});

test("a receiver that acknowledges bulk has no more of it on the way than its window, and urgent frames pass it [BEY-1]", async () => {
  const { outbox, open, frames, add, take, flush } = world();
  outbox.takenBulk(0);
  for (let i = 0; i < 5_000; i++) add("b", `b${i}:`.padEnd(1_000));
  await flush();
  while (take());
  const bulk = (): number => frames.filter((text) => text.startsWith("b")).length;
  const first = bulk();
  expect(first * 1_005).toBeLessThanOrEqual(2 * bulkWindowBytesMin);
  add("u", "u".padEnd(1_000));
  await flush();
  while (take());
  expect([bulk(), frames.at(-1)?.charAt(0)]).toEqual([first, "u"]);
  for (let turn = 0; bulk() < 5_000; turn++) {
    expect(turn).toBeLessThan(1_000);
    const before = bulk();
    for (let i = 0; i < 4; i++) {
      outbox.takenBulk(16_384);
      while (take());
    }
    expect(bulk()).toBeGreaterThan(before);
  }
  expect([outbox.bulkBytes, open.length]).toEqual([0, 0]);
});

test("what is queued when a link closes leaves without acknowledgements", async () => {
  const { outbox, open, frames, add, take, flush } = world();
  outbox.takenBulk(0);
  for (let i = 0; i < 1_000; i++) add("b", `b${i}`.padEnd(1_000));
  await flush();
  while (take());
  expect(frames.length).toBeLessThan(200);
  outbox.finish();
  while (take());
  expect([frames.length, outbox.bulkBytes, open.length]).toEqual([1_000, 0, 0]);
});

test("a discarded outbox drops its bulk", async () => {
  const { outbox, open, add, take, flush } = world();
  for (let i = 0; i < 500; i++) add("b", "b".padEnd(1_000));
  await flush();
  outbox.discard();
  const before = open.length;
  while (take());
  outbox.takenBulk(1_000_000);
  expect([before > 0, open.length, outbox.bulkBytes]).toEqual([true, 0, 0]);
});
