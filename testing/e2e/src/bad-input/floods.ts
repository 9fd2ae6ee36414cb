/** More than the bounds allow: messages, queries, connections, resets. */
import { constants } from "node:http2";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { boundedLogPerSecond, CausewayError } from "@causeway/core-base";
import { ars } from "@causeway/core-wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { calling } from "../adversary/calls.ts";
import { configOf, enrol } from "../adversary/credentials.ts";
import { startGateway } from "../adversary/extra-gateway.ts";
import { RawSession } from "../adversary/raw-session.ts";
import type { Scene } from "../adversary/scene.ts";
import { type LinkOwner, ownerOf, privateMessage, WireLink } from "../adversary/wire-link.ts";
import { until } from "../world.ts";

/** Registers the tests; `world` gives the scene once it has started. */
export function flood(world: () => Scene): void {
  const perSecond = 100;

  let scene: Scene;
  let keepers: readonly IdentityKeeper[] = [];
  let mallory: LinkOwner;
  let friend: LinkOwner;
  /** A gateway with rates that a test can exceed. */
  let narrow: string;

  beforeAll(async () => {
    scene = world();
    keepers = await Promise.all(
      ["mallory", "friend-of-mallory"].map((name) => enrol(scene.world, `blue.example/people/${name}`)),
    );
    [mallory, friend] = keepers.map(ownerOf) as [LinkOwner, LinkOwner];
    const limits = { agentMessagesPerSecond: perSecond, rateBurstSeconds: 1, floodCloseAfter: 1_000 };
    narrow = await startGateway(scene.world, { name: "blue.example/narrow-for-mallory", limits });
  }, 120_000);

  afterAll(async () => {
    await Promise.all(keepers.map((keeper) => keeper.stop()));
  });

  const delivered = (wire: WireLink): number => wire.bodies.filter((body) => body.case === "message").length;

  describe("more than the bounds allow", () => {
    test("an agent over its rate is refused with the limit and the time to wait, and closed when it goes on", async () => {
      const log = scene.log("blue.example/narrow-for-mallory");
      using receiver = await WireLink.attached(narrow, friend);
      using flooder = await WireLink.attached(narrow, mallory);
      await scene.harmless(async () => {
        const messages = Array.from({ length: 3 * perSecond }, () =>
          flooder.message(friend.spiffeId, privateMessage("again")),
        );
        flooder.send(...messages);
        await flooder.refusal("CAUSEWAY_LIMIT_RATE");
        const report = flooder.bodies.find(
          (body) => body.case === "control" && body.value.body.case === "deliveryReport",
        );
        expect(JSON.stringify(report, (_, value) => (typeof value === "bigint" ? String(value) : value))).toMatch(
          /agentMessagesPerSecond.*"retryAfterMs":[1-9]|"retryAfterMs":[1-9].*agentMessagesPerSecond/,
        );
        await log.expect("limits.rate_exceeded", { from: mallory.spiffeId, limit: "agentMessagesPerSecond" });
        expect(delivered(receiver)).toBeLessThan(2 * perSecond);
        // Whoever else is at the same gateway is served.
        receiver.send(receiver.message(mallory.spiffeId, privateMessage("not my fault")));
        await until("the other's message", () => delivered(flooder) === 1);
        // It goes on: ten thousand more, whatever it is told.
        for (let i = 0; i < 100 && flooder.end === undefined; i++) {
          flooder.send(...messages.slice(0, perSecond));
          await new Promise((resolve) => setImmediate(resolve));
        }
        expect(await flooder.closed()).toBe("CAUSEWAY_LIMIT_RATE");
        await log.expect("limits.flooder_closed", { from: mallory.spiffeId });
      });
    });

    test("queries over the registry's rate are refused with the time to wait, others find on [ANA-47]", async () => {
      const log = scene.log("blue.example/registry");
      const startedAt = performance.now();
      const registry = configOf(scene.world, "blue.example/").registry?.url ?? "";
      const refused = await scene.harmless(() =>
        calling(ars.RegistryService, { url: registry, tls: mallory.tls, trust: mallory.trust }, async (client) => {
          const answers = await Promise.allSettled(Array.from({ length: 1_000 }, () => client.discover({ limit: 1 })));
          return answers.flatMap((answer) => (answer.status === "rejected" ? [CausewayError.from(answer.reason)] : []));
        }),
      );
      expect(refused.length).toBeGreaterThan(900);
      for (const { code, status, retryAfterMs, details } of refused.slice(0, 10)) {
        expect({ code, status, limit: details["limit"] }).toEqual({
          code: "CAUSEWAY_LIMIT_RATE",
          status: "RESOURCE_EXHAUSTED",
          limit: "queriesPerMinute",
        });
        expect(retryAfterMs).toBeGreaterThan(0);
      }
      await log.expect("h2.call_refused", { peer: mallory.spiffeId, code: "CAUSEWAY_LIMIT_RATE" });
      // The log itself is bounded: a flood of refusals is not a flood of lines.
      const seconds = Math.ceil((performance.now() - startedAt) / 1_000);
      const lines = log.lines().filter((line) => line.event === "h2.call_refused").length;
      expect(lines).toBeLessThanOrEqual(boundedLogPerSecond * (5 + seconds));
    });

    test("connections over the bound of one peer are refused, and the bound is counted down again", async () => {
      const log = scene.log("blue.example/gw1");
      const url = configOf(scene.world, "blue.example/").gateways[0]?.url ?? "";
      const sessions = await scene.harmless(async () => {
        const open = Array.from({ length: 64 }, () => RawSession.open(url, mallory.tls, mallory.trust));
        await Promise.all(open.map((session) => session.ready));
        const more = RawSession.open(url, mallory.tls, mallory.trust);
        expect(await more.refused).toBe("CAUSEWAY_LIMIT_COUNT");
        return open;
      });
      await log.expect("h2.session_refused", { code: "CAUSEWAY_LIMIT_COUNT" });
      for (const session of sessions) session[Symbol.dispose]();
      await until("a free place", async () => {
        const again = await WireLink.attached(url, mallory).catch(() => undefined);
        again?.link.close();
        return again !== undefined;
      });
    });

    test("a connection that opens and resets streams in a flood is cut", async () => {
      const log = scene.log("blue.example/gw1");
      const url = configOf(scene.world, "blue.example/").gateways[0]?.url ?? "";
      await scene.harmless(async () => {
        using flooder = RawSession.open(url, mallory.tls, mallory.trust);
        await flooder.ready;
        for (let round = 0; round < 100; round++) {
          for (let i = 0; i < 50; i++) flooder.request().stream.close(constants.NGHTTP2_CANCEL);
          await new Promise((resolve) => setImmediate(resolve));
        }
        await log.expect("h2.session_failed", { peer: mallory.spiffeId });
      });
    });
  });
}
