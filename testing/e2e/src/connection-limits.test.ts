/** Limits of connections, as an operator sees and configures them (AAP-103). */
import { readFileSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startGateway } from "./adversary/extra-gateway.ts";
import { answerIn } from "./adversary/program.ts";
import { startWorld, until, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await startWorld();
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

const cli = <T>(...args: readonly string[]): Promise<T> => answerIn<T>(world, ...args);

interface LimitRow {
  readonly service: string;
  readonly name: string;
  readonly value: string | number;
}

test("bounds and timers of connections are listed with default and bounds, and count after a restart [AAP-103]", {
  timeout: 120_000,
}, async () => {
  const { limits } = await cli<{ limits: LimitRow[] }>("limits");
  const rows = limits.filter((each) => each.name === "connection.handshakeMs");
  expect(rows.map((each) => each.service)).toEqual(["gateway gw1", "gateway gw2", "registry", "authority"]);
  for (const row of rows) {
    expect(row).toMatchObject({ unit: "ms", effect: "after a restart", setBy: "default" });
    expect(Object.entries(row).map(([key, value]) => [key, String(value)])).toEqual(
      expect.arrayContaining([
        ["value", "10000"],
        ["defaultValue", "10000"],
        ["min", "100"],
        ["max", "600000"],
      ]),
    );
  }
  const refused = cli("limits", "set", "connection.handshakeMs", "5000", "--gateway", "gw1");
  const { stdout, stderr } = await refused.then(
    () => ({ stdout: "it was set", stderr: "" }),
    (thrown: { stdout: string; stderr: string }) => thrown,
  );
  expect(`${stdout}${stderr}`).toContain("write it to the configuration and restart");
  const file = world.home.configFile("blue.example");
  const before = readFileSync(file, "utf8");
  writeFileSync(file, before.replace("name: gw1,", "name: gw1, limits: { connection.handshakeMs: 5000 },"));
  const reloaded = await cli<{ services: unknown[] }>("limits", "reload", "--gateway", "gw1");
  writeFileSync(file, before);
  expect(JSON.stringify(reloaded.services)).toContain('"pending":[{"name":"connection.handshakeMs"');
  const after = await cli<{ limits: LimitRow[] }>("limits", "list", "--changed", "--gateway", "gw1");
  expect(after.limits).toEqual([]);
});

test("a gateway whose configuration allows three connections takes no fourth [AAP-103]", {
  timeout: 120_000,
}, async () => {
  const limits = { "connection.sessionsMax": 3, "connection.handshakeMs": 600_000 };
  const url = new URL(await startGateway(world, { name: "blue.example/few", limits }));
  const sockets = Array.from({ length: 5 }, () => connectTcp(Number(url.port), url.hostname));
  for (const socket of sockets) socket.on("error", () => undefined).resume();
  const open = () => sockets.filter((socket) => !socket.destroyed).length;
  try {
    await until("the connections over the bound to be closed", async () => open() === 3);
    const refused = connectTcp(Number(url.port), url.hostname).resume();
    await new Promise((resolve) => refused.on("error", () => undefined).once("close", resolve));
    expect(open()).toBe(3);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});
