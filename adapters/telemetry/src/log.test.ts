import { refuse } from "@causeway/core-base";
import { expect, test } from "vitest";
import { createLog, type LogLevel, MemoryLog } from "./index.ts";

/** A log into memory and the parsed lines. */
function captured(level: LogLevel = "info") {
  const lines: Record<string, unknown>[] = [];
  const log = createLog({
    level,
    fields: { service: "gateway" },
    destination: { write: (line) => void lines.push(JSON.parse(line)) },
  });
  return { log, lines };
}

test("writes one JSON object a line with time, level, event and fields", () => {
  const { log, lines } = captured();
  log.info("link.peer_attached", {
    peer: "spiffe://blue.example/a/b",
    bytes: 5,
    sequence: 12345678901234567890n,
    isFirst: true,
    nothing: undefined,
  });
  expect(lines).toEqual([
    {
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      service: "gateway",
      event: "link.peer_attached",
      peer: "spiffe://blue.example/a/b",
      bytes: 5,
      sequence: "12345678901234567890",
      isFirst: true,
    },
  ]);
});

test("leaves out what is below its level", () => {
  const { log, lines } = captured("warn");
  log.debug("a.b_c");
  log.info("a.b_c");
  log.warn("a.b_warned");
  log.error("a.b_failed");
  expect(lines.map((line) => line["event"])).toEqual(["a.b_warned", "a.b_failed"]);
  expect(captured("silent").lines).toEqual([]);
});

test("keeps the causes of an error, and a field cannot overwrite what the log writes", () => {
  const { log, lines } = captured();
  const error = refuse("CAUSEWAY_STORE_FAILED", "the store could not write", { cause: new Error("disk I/O error") });
  log.error("store.write_failed", { time: "never", event: "forged", level: "none" }, error);
  expect(lines[0]).toMatchObject({
    event: "store.write_failed",
    level: "error",
    time_: "never",
    event_: "forged",
    level_: "none",
    error: {
      code: "CAUSEWAY_STORE_FAILED",
      message: "the store could not write",
      cause: { message: "disk I/O error" },
    },
  });
  log.error("store.write_failed", {}, "a string");
  expect(lines[1]).toMatchObject({ error: "a string" });
});

test("a bound log adds its fields to every line", () => {
  const { log, lines } = captured();
  log.bind({ link: 7 }).bind({ peer: "p" }).info("link.frame_dropped", { reason: "ttl" });
  expect(lines[0]).toMatchObject({ service: "gateway", link: 7, peer: "p", reason: "ttl" });
});

test("a value with line breaks cannot forge a second line", () => {
  const texts: string[] = [];
  const log = createLog({ destination: { write: (line) => void texts.push(line) } });
  log.warn("a.b_c", { name: 'x"}\n{"level":"info","event":"forged"}' });
  expect(texts.join("").trimEnd().split("\n")).toHaveLength(1);
});

test("the memory log keeps the newest lines up to its bound", () => {
  const log = new MemoryLog(10);
  for (let i = 0; i < 25; i++) log.info("a.b_counted", { i });
  expect(log.lines.length).toBeLessThanOrEqual(10);
  expect(log.lines.at(-1)?.fields["i"]).toBe(24);
  log.error("a.b_failed", {}, new Error("cause"));
  expect(log.of("a.b_failed")).toHaveLength(1);
  log.clear();
  expect(log.lines).toEqual([]);
});
