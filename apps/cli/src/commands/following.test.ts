import { defaults, refuse } from "@causeway/core-base";
import { expect, test } from "vitest";
import { followAll, type Source } from "./following.ts";

const down = refuse("CAUSEWAY_UNREACHABLE", "expected it to answer, got nothing");
const wrong = refuse("CAUSEWAY_CONFIG_INVALID", "expected fewer types");

/** What a service does each time that it is asked; the last is for good. An error in an array comes once it is open. */
type Turn = "holds" | "ends" | Error | readonly [Error];

/** Follows services that do these things in turn, and answers what was told. Aborted when `turns` of one run out. */
async function followed(services: Readonly<Record<string, readonly Turn[]>>) {
  const told: string[] = [];
  const waits: Record<string, number[]> = {};
  const stop = new AbortController();
  let current = "";
  const sources = Object.entries(services).map(([service, turns]): Source => {
    let asked = 0;
    return {
      service,
      async follow(onOpen, signal) {
        await Promise.resolve();
        current = service;
        const turn = turns[asked++];
        if (turn === undefined) stop.abort();
        if (turn === undefined || turn instanceof Error) throw turn ?? down;
        onOpen();
        if (turn === "ends") return;
        if (turn !== "holds") throw turn[0];
        await new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        });
      },
    };
  });
  const outcome = followAll(sources, {
    signal: stop.signal,
    wait: (ms) => {
      (waits[current] ??= []).push(ms);
      return Promise.resolve();
    },
    onLost: (_service, error) => void told.push(`lost ${error.message}`),
    onBack: (service) => void told.push(`back ${service}`),
  });
  return {
    error: await outcome.then(
      () => undefined,
      (thrown: Error) => thrown.message,
    ),
    told,
    waits,
  };
}

test("one that is down is named once and asked again with growing pauses, while the others go on", async () => {
  const { error, told, waits } = await followed({ gw1: ["holds"], gw2: Array.from({ length: 9 }, () => down) });
  expect(error).toBeUndefined();
  expect(told).toEqual([`lost gw2: ${down.message}`]);
  const { reconnectMsMin: min, reconnectMsMax: max } = defaults;
  expect(waits["gw2"]).toEqual(Array.from({ length: 9 }, (_, i) => Math.min(max, min * 2 ** i)));
  expect(waits["gw2"]?.at(-1)).toBe(max);
});

test("one that ends or breaks is told as lost and as back each time, and its pauses begin anew", async () => {
  const { error, told, waits } = await followed({ gw1: ["ends", down, "ends"] });
  expect(error).toBeUndefined();
  expect(told).toEqual([
    "lost gw1: has ended its events; it goes out of service",
    "back gw1",
    "lost gw1: has ended its events; it goes out of service",
  ]);
  const min = defaults.reconnectMsMin;
  expect(waits["gw1"]).toEqual([min, 2 * min, min]);
});

test("when nobody answers the first time there is nothing to follow", async () => {
  expect(await followed({ gw1: [down, "holds"], gw2: [down, "holds"] })).toMatchObject({
    error: expect.stringMatching(/^gw[12]: expected it to answer/),
  });
  expect(await followed({ gw1: [down] })).toMatchObject({ error: `gw1: ${down.message}`, told: [] });
});

test("what the caller has to correct is not asked again", async () => {
  const { error, told, waits } = await followed({ gw1: [wrong, "holds"], gw2: ["ends"] });
  expect(told).toContain(`lost gw1: ${wrong.message}`);
  expect(waits["gw1"]).toBeUndefined();
  expect(error).toBeUndefined();
});

test("a refusal that time does not mend ends it, whatever its family", async () => {
  const tooMany = refuse("CAUSEWAY_LIMIT_COUNT", "expected at most 64 types of events, got 65");
  const all = await followed({ gw1: [tooMany, "holds"], gw2: [tooMany, "holds"] });
  expect(all.error).toMatch(/^gw[12]: expected at most 64 types/);
  expect(all.waits).toEqual({});
  // One of another version: the others are followed on.
  const { error, told, waits } = await followed({ gw1: [tooMany, "holds"], gw2: ["ends"] });
  expect([error, waits["gw1"]]).toEqual([undefined, undefined]);
  expect(told).toContain(`lost gw1: ${tooMany.message}`);
});

test("one that was open and breaks is asked again, also when the connection's certificate was the reason", async () => {
  const expired = refuse("CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED", "connect anew");
  const { error, told } = await followed({ gw1: [[expired], "ends"] });
  expect(error).toBeUndefined();
  expect(told.slice(0, 2)).toEqual(["lost gw1: connect anew", "back gw1"]);
});
