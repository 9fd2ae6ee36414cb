import type { Lease } from "@causeway/core-attachment";
import { parseAgentId, type SpiffeId, silentLog } from "@causeway/core-base";
import { describe, expect, test } from "vitest";
import type { Connector } from "../connector.ts";
import type { EndToEnd } from "../end-to-end.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { Ways } from "./ways.ts";

const self = parseAgentId("blue.example/hotels/bob");
const alice = parseAgentId("blue.example/travel/alice");
const carol = parseAgentId("green.example/travel/carol");

/** The ways of one agent that listens; nothing is sent. */
async function listening() {
  const clock = new ManualClock();
  const told: SpiffeId[] = [];
  const direct: Connector["direct"] = {
    listen: async () => ({ url: "https://127.0.0.1:7500", close: async () => undefined }),
    dial: async () => Promise.reject(new Error("nobody is dialled here")),
  };
  const nothing = (): undefined => undefined;
  const ways = new Ways({
    connector: { scheduler: clock, log: silentLog, direct } as unknown as Connector,
    self,
    source: self,
    gatewayUse: "prefer",
    options: {},
    endToEnd: {} as EndToEnd,
    gateway: { transmit: async () => undefined, awaiting: (work) => work() },
    onMessage: async () => undefined,
    onControl: nothing,
    onChange: nothing,
    onEvent: nothing,
    tell: async (to) => void told.push(to),
  });
  ways.handleAttached({ gatewayUse: "prefer" } as Lease);
  await ways.settled();
  return { clock, told, ways };
}

describe("the own address", () => {
  test("is told to a partner once for each of its channels, and to nobody of another domain", async () => {
    const { told, ways } = await listening();
    for (let n = 0; n < 3; n++) ways.handleHeard(alice, "c1");
    ways.handleHeard(carol, "c1");
    expect(told).toEqual([alice]);
    ways.handleHeard(alice, "c2");
    ways.handleHeard(alice, "c1");
    expect(told).toEqual([alice, alice]);
  });

  test("is told to one partner a few times a minute, however often it starts anew", async () => {
    const { clock, told, ways } = await listening();
    for (let n = 0; n < 100; n++) ways.handleHeard(alice, `c${n}`);
    expect(told).toHaveLength(6);
    await clock.advance(60_000);
    ways.handleHeard(alice, "c99");
    expect(told).toHaveLength(7);
  });
});
