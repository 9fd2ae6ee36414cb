/** Two real domains for a test: every service a process, in a folder of its own that goes with the test. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Agent } from "@causeway/agent/node";
import { type DemoNetwork, type NetworkOptions, startNetwork } from "../../../apps/cli/src/demo/network.ts";
import { Home } from "../../../apps/cli/src/home.ts";
import { connectAgent } from "../../../apps/cli/src/processes/agents.ts";
import { type Service, Supervisor, type SupervisorOptions } from "../../../apps/cli/src/processes/supervisor.ts";

export interface World extends AsyncDisposable {
  readonly home: Home;
  readonly network: DemoNetwork;
  readonly supervisor: Supervisor;
  /** An agent of this test's process, by its short name; closed with the world. */
  agent(name: string): Promise<Agent>;
  service(name: string): Service;
}

export async function startWorld(
  options: NetworkOptions = {},
  supervision: Pick<SupervisorOptions, "environment"> = {},
): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), "causeway-e2e-"));
  const home = new Home(join(folder, "home"));
  const supervisor = new Supervisor(supervision);
  const resources = new AsyncDisposableStack();
  resources.defer(() => rmSync(folder, { recursive: true, force: true }));
  resources.use(supervisor);
  try {
    const network = resources.use(await startNetwork(home, supervisor, options));
    return {
      home,
      network,
      supervisor,
      async agent(name) {
        const config = network.configs.find((c) => name.startsWith(`${c.domain}/`));
        if (config === undefined) throw new Error(`no domain for ${name}`);
        return resources.use(await connectAgent({ home, config, name }));
      },
      service(name) {
        const service = supervisor.services.find((s) => s.name === name);
        if (service === undefined) throw new Error(`no service ${name}`);
        return service;
      },
      [Symbol.asyncDispose]: () => resources.disposeAsync(),
    };
  } catch (thrown) {
    await resources.disposeAsync();
    throw thrown;
  }
}

/** Repeats `attempt` until it answers true. The deadline bounds a hang; nothing is asserted about time. */
export async function until(what: string, attempt: () => Promise<boolean> | boolean, withinMs = 30_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await attempt())) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
