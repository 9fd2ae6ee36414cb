import { expect, test } from "vitest";
import { createCounters } from "./index.ts";

test("counts, by name, in one registry", () => {
  const counters = createCounters();
  const frames = counters.counter("causeway_link_frames_total");
  frames.add();
  frames.add(4);
  counters.counter("causeway_link_frames_total").add(5);
  counters.counter("causeway_h2_sessions_total");
  expect(counters.snapshot()).toEqual({ causeway_h2_sessions_total: 0, causeway_link_frames_total: 10 });
  expect(createCounters().snapshot()).toEqual({});
});

test("refuses names outside the scheme, amounts that shrink a counter, and too many names", () => {
  const counters = createCounters(2);
  for (const name of [
    "frames",
    "causeway_frames",
    "causeway_link_Frames_total",
    "causeway__frames_total",
    "causeway_a_b_c\n",
  ]) {
    expect(() => counters.counter(name)).toThrow(expect.objectContaining({ code: "CAUSEWAY_MISUSE" }));
  }
  const counter = counters.counter("causeway_link_frames_total");
  for (const amount of [-1, Number.NaN])
    expect(() => counter.add(amount)).toThrow(expect.objectContaining({ code: "CAUSEWAY_MISUSE" }));
  counters.counter("causeway_link_bytes_total");
  expect(() => counters.counter("causeway_link_drops_total")).toThrow(
    expect.objectContaining({ code: "CAUSEWAY_MISUSE" }),
  );
  expect(counters.snapshot()).toEqual({ causeway_link_bytes_total: 0, causeway_link_frames_total: 0 });
});
