/** What one other agent can make a direct link do and hold. */
import { parseAgentId, silentLog } from "@causeway/core-base";
import { describe, expect, test } from "vitest";
import type { Connector } from "../connector.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { SilentLink } from "../testing/silent-link.ts";
import { DirectLink, type DirectLinkPorts } from "./direct-link.ts";
import { directLimits } from "./limits.ts";

const self = parseAgentId("blue.example/hotels/bob");
const alice = parseAgentId("blue.example/travel/alice");
const answer = new Uint8Array(150);

/** A link on which alice has said who it is. */
function open(onControl: DirectLinkPorts["onControl"] = () => undefined) {
  const clock = new ManualClock();
  const link = new SilentLink(alice);
  const heard = { hellos: 0 };
  const direct = new DirectLink(
    {
      connector: {
        scheduler: clock,
        log: silentLog,
        identity: { trust: { isRevoked: () => false } },
      } as unknown as Connector,
      self,
      source: self,
      limits: directLimits,
      isWithoutGateway: () => false,
      onMessage: async () => undefined,
      onControl,
      onHello: () => void heard.hellos++,
      onEnd: () => undefined,
    },
    link,
  );
  direct.start().catch(() => undefined);
  link.greet(self);
  return { clock, link, direct, heard };
}

describe("questions", () => {
  test("of an agent that reads no answers end its link, and hold a bounded number of frames", async () => {
    let waiting = 0;
    const { clock, link, direct } = open(async (on) => {
      waiting++;
      await on.transmit(answer).catch(() => undefined);
      waiting--;
    });
    link.isReading = false;
    const before = link.sent.length;
    for (let n = 0; n < 100_000 && link.code === undefined; n++) {
      link.ask(self);
      expect(waiting).toBeLessThanOrEqual(directLimits.questionsMax + 1);
    }
    expect(link.code).toBe("CAUSEWAY_LIMIT_COUNT");
    expect(direct.isOpen).toBe(false);
    await clock.advance(1);
    expect(waiting).toBe(0);
    expect(link.sent.length - before).toBe(1);
  });

  test("of an agent that reads the answers may be any number, one after the other", async () => {
    const { clock, link } = open((on) => on.transmit(answer));
    for (let n = 0; n < 10 * directLimits.questionsMax; n++) {
      link.ask(self);
      if (n % directLimits.questionsMax === 0) await clock.advance(1);
    }
    expect(link.code).toBeUndefined();
    expect(link.sent).toHaveLength(1 + 10 * directLimits.questionsMax);
  });
});

describe("hellos", () => {
  test("that say nothing new cause nothing", () => {
    const { link, heard } = open();
    for (let n = 0; n < 1_000; n++) link.greet(self);
    expect([heard.hellos, link.sent.length, link.code]).toEqual([1, 1, undefined]);
    link.greet(self, true);
    expect(heard.hellos).toBe(2);
  });

  test("that say something else each time end the link", async () => {
    const { clock, link, heard } = open();
    const change = (times: number): void => {
      for (let n = 1; n <= times; n++) link.greet(self, n % 2 === 1);
    };
    change(directLimits.hellosPerMinute);
    await clock.advance(60_000);
    change(directLimits.hellosPerMinute);
    expect(link.code).toBeUndefined();
    change(1_000);
    expect(link.code).toBe("CAUSEWAY_LIMIT_RATE");
    expect(heard.hellos).toBe(1 + 2 * directLimits.hellosPerMinute);
  });
});
