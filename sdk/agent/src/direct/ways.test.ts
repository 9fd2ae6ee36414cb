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

/** The ways of one agent that listens; nothing is sent. `opening`: until then its port is being opened. */
async function listening(opening?: Promise<void>) {
  const clock = new ManualClock();
  const told: SpiffeId[] = [];
  const ports = { opened: 0, closed: 0 };
  const direct: Connector["direct"] = {
    listen: async () => {
      await opening;
      const url = `https://127.0.0.1:${7_500 + ports.opened++}`;
      return { url, close: async () => void ports.closed++ };
    },
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
  const attach = (gatewayUse: "prefer" | "always"): void => ways.handleAttached({ gatewayUse } as Lease);
  attach("prefer");
  if (!opening) await ways.settled();
  return { attach, clock, ports, told, ways };
}

describe("the listener", () => {
  test("is closed once with the agent, which says so afterwards", async () => {
    const { ports, ways } = await listening();
    expect(ways.report().listening).toBe("https://127.0.0.1:7500");
    await Promise.all([ways.close(), ways.close()]);
    await ways.close();
    expect([ways.report().listening, ports]).toEqual([undefined, { opened: 1, closed: 1 }]);
  });

  test("is closed and not named when direct links are forbidden, or the agent ends, while it opens", async () => {
    for (const isEnd of [false, true]) {
      const opening = Promise.withResolvers<void>();
      const { attach, ports, ways } = await listening(opening.promise);
      const closed = isEnd ? ways.close() : Promise.resolve(attach("always"));
      opening.resolve();
      await closed;
      await ways.settled();
      expect([ways.report().listening, ports]).toEqual([undefined, { opened: 1, closed: 1 }]);
    }
  });

  test("opens again when direct links are permitted again", async () => {
    const opening = Promise.withResolvers<void>();
    const { attach, ports, ways } = await listening(opening.promise);
    attach("always");
    attach("prefer");
    opening.resolve();
    await ways.settled();
    expect(ports.opened - ports.closed).toBe(1);
    expect(ways.report().listening).toBe(`https://127.0.0.1:${7_499 + ports.opened}`);
  });
});

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
