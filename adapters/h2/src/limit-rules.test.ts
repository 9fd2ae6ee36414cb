import { expect, test } from "vitest";
import { h2Limits } from "./index.ts";
import { connectionLimits, h2LimitsOf } from "./limit-rules.ts";

test("every limit of connections has bounds, in which its default lies, and counts after a restart", () => {
  const { defaults, rules } = connectionLimits;
  expect(Object.keys(rules)).toEqual(Object.keys(h2Limits).map((name) => `connection.${name}`));
  for (const [name, { min, max, effect }] of Object.entries(rules)) {
    const value = defaults[name as keyof typeof defaults];
    expect([name, value >= min && value <= max, effect]).toEqual([name, true, "after a restart"]);
  }
});

test("of configured limits a port gets those of connections, when they are allowed and go together", () => {
  const configured = { "connection.sessionsMax": 5, heldMessagesMax: 7 };
  expect(h2LimitsOf(configured)).toEqual({ sessionsMax: 5 });
  expect(h2LimitsOf({})).toEqual({});
  expect(() => h2LimitsOf({ "connection.handshakeMs": 1 })).toThrow(
    /expected connection\.handshakeMs as a whole number from 100 to 600000, got 1/,
  );
  expect(() => h2LimitsOf({ "connection.queueBytesMax": 70_000 })).toThrow(
    /expected connection\.queueHighWaterBytes of at most connection\.queueBytesMax, got 1048576 and 70000/,
  );
});
