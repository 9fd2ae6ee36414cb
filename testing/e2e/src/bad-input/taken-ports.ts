/** Ports and folders that another process has. */
import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeGateway } from "../adversary/extra-gateway.ts";
import { causeway, refusalIn } from "../adversary/program.ts";
import type { Scene } from "../adversary/scene.ts";

/** Registers the tests; `world` gives the scene once it has started. */
export function takePorts(world: () => Scene): void {
  let scene: Scene;
  let squatter: Server;

  beforeAll(async () => {
    scene = world();
    squatter = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
  }, 120_000);

  afterAll(() => void squatter?.close());

  test("a gateway that cannot listen says so, ends, and was never seen by its neighbours", async () => {
    const address = squatter.address();
    const listen = `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
    const args = await describeGateway(scene.world, { name: "blue.example/late", listen });
    const log = scene.log("blue.example/gw2");
    const outcome = await scene.harmless(() => causeway(...args, "--json"));
    expect(outcome.exitCode).toBe(1);
    expect(refusalIn(outcome)).toMatchObject({
      code: "CAUSEWAY_PORT_IN_USE",
      message: expect.stringMatching(
        /port \d+ on 127\.0\.0\.1 .*another process listens on it; choose another port or stop that process/,
      ),
    });
    expect(log.lines().filter((line) => JSON.stringify(line).includes("late.blue.example"))).toEqual([]);
  });

  test("a second process of a running service leaves the first one alone", async () => {
    const [{ domain }] = scene.world.network.configs;
    const config = scene.world.home.configFile(domain);
    const home = scene.world.home.directory;
    for (const service of [["authority"], ["registry"], ["gateway", "gw1"]]) {
      const outcome = await scene.harmless(() => causeway(...service, "--config", config, "--home", home, "--json"));
      expect(outcome.exitCode).toBe(1);
      const { code, message } = refusalIn(outcome);
      expect(code).toMatch(/_IN_USE$/);
      expect(message).toMatch(/stop that process/);
    }
  });
}
