/** Sessions with any agent below a prefix. */
import { type ErrorCode, parseSpiffeId, refuse, type SpiffeId } from "@causeway/core-base";
import { expect, test } from "vitest";
import { Anycast } from "./anycast.ts";
import { codeOf } from "./testing/index.ts";

const prefix = "green.example/hotels/";

/** Gateways that choose the hotels in turn. */
function gateways() {
  let asked = 0;
  return new Anycast((name) => Promise.resolve(parseSpiffeId(`${name}/hotel${++asked}`)));
}

const nameOf = async (to: SpiffeId): Promise<string> => to.slice(-"hotel1".length);

test("a session stays with the agent that it met, and others have theirs", async () => {
  const anycast = gateways();
  expect(await anycast.use(prefix, "a", nameOf)).toBe("hotel1");
  expect(await anycast.use(prefix, "b", nameOf)).toBe("hotel2");
  expect(await anycast.use(`spiffe://${prefix}`, "a", nameOf)).toBe("hotel1");
});

test.each([
  ["CAUSEWAY_TIMEOUT", "hotel2"],
  ["CAUSEWAY_FORWARDING_NO_ROUTE", "hotel2"],
  ["CAUSEWAY_FORWARDING_NOT_ATTACHED", "hotel2"],
  // It is there, and says so.
  ["CAUSEWAY_AGENT_HANDLER_FAILED", "hotel1"],
  ["CAUSEWAY_CANCELLED", "hotel1"],
] as const)("after %s the next message goes to %s, and the one that failed to no other", async (code, next) => {
  const anycast = gateways();
  const reached: string[] = [];
  const fail = async (to: SpiffeId): Promise<never> => {
    reached.push(await nameOf(to));
    throw refuse(code satisfies ErrorCode, "a test");
  };
  expect(await codeOf(anycast.use(prefix, "", fail))).toBe(code);
  expect(reached).toEqual(["hotel1"]);
  expect(await anycast.use(prefix, "", nameOf)).toBe(next);
});

test("a choice that could not be made is made again", async () => {
  let asked = 0;
  const anycast = new Anycast((name) =>
    ++asked === 1
      ? Promise.reject(refuse("CAUSEWAY_FORWARDING_NO_ROUTE", "nobody is there"))
      : Promise.resolve(parseSpiffeId(`${name}/hotel1`)),
  );
  expect(await codeOf(anycast.use(prefix, "", nameOf))).toBe("CAUSEWAY_FORWARDING_NO_ROUTE");
  expect(await anycast.use(prefix, "", nameOf)).toBe("hotel1");
});

test.each(["/", "green.example//", "green.example//hotels/", "green.example/ho tels/", "green.example/../", "Green/"])(
  "%j is no prefix: refused before anything is asked [AAP-69]",
  async (target) => {
    const anycast = new Anycast(() => Promise.reject(new Error("asked")));
    expect(await codeOf(anycast.use(target, "", nameOf))).toBe("CAUSEWAY_NAME_INVALID");
  },
);
