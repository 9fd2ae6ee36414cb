import fc from "fast-check";
import { expect, test } from "vitest";
import { agreedUse, decodeGatewayUse, encodeGatewayUse, type GatewayUse, wayOf } from "./gateway-use.ts";

const uses: readonly GatewayUse[] = ["always", "prefer", "never"];

test("the stricter of agent and domain wins, and two that exclude each other leave no way [ANA-96]", () => {
  const agreed = uses.map((own) => uses.map((prescribed) => agreedUse(own, prescribed)));
  expect(agreed).toEqual([
    ["always", "always", "none"],
    ["always", "prefer", "never"],
    ["none", "never", "never"],
  ]);
});

const facts = fc.record({
  use: fc.constantFrom<GatewayUse | "none">(...uses, "none"),
  isInside: fc.boolean(),
  isGatewayUp: fc.boolean(),
  isDirectKnown: fc.boolean(),
  isPeerWithoutGateway: fc.boolean(),
});

test("whatever is known, a message to another domain goes through the gateway [ANA-95]", () => {
  fc.assert(
    fc.property(facts, (known) => {
      expect(wayOf({ ...known, isInside: false })).toBe("gateway");
    }),
  );
});

test("always never goes directly, never goes through no gateway, prefer goes directly only for want of one [ANA-96]", () => {
  fc.assert(
    fc.property(facts, (known) => {
      const way = wayOf({ ...known, isInside: true });
      if (known.use === "always") expect(way).toBe("gateway");
      if (known.use === "never") expect(way).toBe(known.isDirectKnown ? "direct" : "no direct way");
      if (known.use === "none") expect(way).toBe("forbidden");
      if (known.use !== "prefer") return;
      const isWithout = !known.isGatewayUp || known.isPeerWithoutGateway;
      expect(way).toBe(known.isDirectKnown && isWithout ? "direct" : "gateway");
    }),
  );
});

test("a lease carries each value, and one without a value leaves it to the agent", () => {
  expect(uses.map((use) => decodeGatewayUse(encodeGatewayUse(use)))).toEqual(uses);
  expect([0, 99].map((value) => decodeGatewayUse(value))).toEqual(["prefer", "prefer"]);
});
