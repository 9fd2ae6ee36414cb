import { describe, expect, test } from "vitest";
import { World } from "./fixtures/world.ts";

/** Plays commands and returns everything that happened. */
const play = (...commands: readonly string[]): readonly string[] => {
  const world = new World();
  return commands.flatMap((command) => world.run(command));
};
const start = ["gateway gw1", "agent a", "start a"] as const;
const attached = [...start, "link a", "run"] as const;

describe("the seven procedures of attachment, each with a failing variant [AAP-10]", () => {
  test("finding a gateway", () => {
    expect(play(...start)).toContain("a: connect 1 to https://gw1:1 (static)");
    expect(play(...start, "unreachable a", "status a").at(-1)).toBe("a backoff last=CAUSEWAY_UNREACHABLE");
  });

  test("attaching", () => {
    expect(play(...attached, "status gw1").at(-1)).toBe("gw1 holds a/@i attached stateful running");
    expect(play("gateway gw1 max=0", "agent a", "start a", "link a", "run", "status a").at(-1)).toBe(
      "a backoff last=CAUSEWAY_LIMIT_COUNT",
    );
  });

  test("authenticating", () => {
    expect(play(...attached)).toContain("a: attached stateful [agp/1,mls/1,topics/1]");
    expect(play(...start, "link a mitm=yes", "run", "status a").at(-1)).toBe(
      "a backoff last=CAUSEWAY_ATTACHMENT_PROOF_INVALID",
    );
  });

  test("exchanging capabilities", () => {
    expect(
      play("gateway gw1 features=mls/1,x/1", "agent a features=x/1,mls/1,y/2", "start a", "link a", "run"),
    ).toContain("a: attached stateful [mls/1,x/1]");
    expect(play("gateway gw1 features=x/1", "agent a", "start a", "link a", "run", "status a").at(-1)).toBe(
      "a backoff last=CAUSEWAY_ATTACHMENT_FEATURE_MISSING",
    );
  });

  test("setting up the session", () => {
    expect(play(...attached)).toContain("gw1: send 1 lease stateful 300000 ms [agp/1,mls/1,topics/1]");
    expect(play(...start, "link a", "lose", "advance 10s", "status gw1").at(-1)).toBe("gw1 holds nothing");
  });

  test("keep-alive", () => {
    expect(play(...attached, "live 200s", "status gw1").at(-1)).toBe("gw1 holds a/@i attached stateful running");
    expect(play(...attached, "kill a", "advance 90s", "status gw1").at(-1)).toBe(
      "gw1 holds a/@i stale stateful running",
    );
  });

  test("teardown", () => {
    expect(play(...attached, "detach a", "run", "status gw1").at(-1)).toBe("gw1 holds nothing");
    expect(play(...attached, "cut a", "status gw1").at(-1)).toBe("gw1 holds a/@i stale stateful running");
  });
});

test("nothing but a new attachment brings an agent back after its gateway restarted [AAP-82]", () => {
  const world = new World();
  for (const command of attached) world.run(command);
  world.run("gateway gw1");
  expect(world.run("status gw1")).toEqual(["gw1 holds nothing"]);
  world.run("condition a degraded");
  world.run("run");
  expect(world.run("status gw1")).toEqual(["gw1 holds nothing"]);
});
