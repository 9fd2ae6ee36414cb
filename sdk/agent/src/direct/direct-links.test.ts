/** When direct links end by themselves. */
import { type AgentId, asUnixMs, parseAgentId, silentLog } from "@causeway/core-base";
import { describe, expect, test } from "vitest";
import type { Connector } from "../connector.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { SilentLink } from "../testing/silent-link.ts";
import { DirectLinks } from "./direct-links.ts";
import { directLimits } from "./limits.ts";

const self = parseAgentId("blue.example/hotels/bob");
const agent = (n: number): AgentId => parseAgentId(`blue.example/travel/a${n}`);

function links(): { readonly clock: ManualClock; readonly all: DirectLinks } {
  const clock = new ManualClock();
  const identity = { trust: { isRevoked: () => false } };
  const all = new DirectLinks({
    connector: { scheduler: clock, log: silentLog, identity } as unknown as Connector,
    self,
    source: self,
    limits: directLimits,
    isWithoutGateway: () => false,
    refusal: () => undefined,
    addressOf: () => undefined,
    onMessage: async () => undefined,
    onControl: () => undefined,
    onChange: () => undefined,
    onRefused: () => undefined,
  });
  return { clock, all };
}

describe("a link", () => {
  test("that rests is closed however often other ones begin", async () => {
    const { clock, all } = links();
    const opened: SilentLink[] = [];
    for (let n = 0; n < 10; n++) {
      const link = new SilentLink(agent(n));
      all.accept(link);
      link.greet(self);
      opened.push(link);
      await clock.advance(100_000);
    }
    // The last two have rested for 100 and 200 seconds.
    const codes = opened.map(({ code }) => code);
    expect(codes).toEqual([...Array.from({ length: 8 }, () => ""), undefined, undefined]);
    await clock.advance(directLimits.idleMs);
    expect(all.isEmpty).toBe(true);
  });

  test("ends as soon as the certificate of the other end has expired, however much it is used", async () => {
    const { clock, all } = links();
    const expiring = new SilentLink(agent(1), asUnixMs(clock.now().unix + 30_000));
    all.accept(expiring);
    expiring.greet(self);
    for (let n = 0; n < 30; n++) {
      const other = new SilentLink(agent(2 + n));
      all.accept(other);
      other.greet(self);
      expiring.greet(self);
      await clock.advance(1_000);
    }
    expect(expiring.code).toBeUndefined();
    await clock.advance(1);
    expect(expiring.code).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED");
  });
});
