/** A domain with one gateway that dies all the time, a sender that wants to know what is stored, and a receiver. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Agent } from "@causeway/agent/node";
import { defaults } from "@causeway/core-base";
import { readDomainConfig } from "../../../../apps/cli/src/config/domain.ts";
import { Home } from "../../../../apps/cli/src/home.ts";
import { connectAgent } from "../../../../apps/cli/src/processes/agents.ts";
import { startDomain } from "../../../../apps/cli/src/processes/domain.ts";
import { freePorts } from "../../../../apps/cli/src/processes/free-ports.ts";
import { Operator } from "../../../../apps/cli/src/processes/operator.ts";
import { Supervisor } from "../../../../apps/cli/src/processes/supervisor.ts";
import { GatewayProcess } from "./gateway-process.ts";

const domain = "blue.example";

// An agent that loses its gateway every few seconds waits up to half a minute before it comes back. In this process it
// does not, or some hundred kills would last hours.
Object.assign(defaults, { reconnectMsMin: 50, reconnectMsMax: 500 });

export interface CrashScene extends AsyncDisposable {
  readonly gateway: GatewayProcess;
  /** The operator's service of the gateway as it runs now. */
  admin(): ReturnType<Operator["gateway"]>;
  agent(name: string): Promise<Agent>;
}

export async function openScene(): Promise<CrashScene> {
  const folder = mkdtempSync(join(tmpdir(), "causeway-crash-"));
  const resources = new AsyncDisposableStack();
  resources.defer(() => rmSync(folder, { recursive: true, force: true }));
  try {
    const home = new Home(join(folder, "home"));
    home.ensure();
    const configFile = home.configFile(domain);
    const ports = await freePorts(3);
    mkdirSync(dirname(configFile), { recursive: true });
    writeFileSync(
      configFile,
      `domain: ${domain}
dataDir: data
masterKeyFile: ${JSON.stringify(home.masterKeyFile)}
authority: { listen: "127.0.0.1:${ports[0]}" }
registry: { listen: "127.0.0.1:${ports[1]}", gateway: gw }
gateways:
  - { name: gw, level: 2, listen: "127.0.0.1:${ports[2]}" }
`,
    );
    const config = readDomainConfig(configFile);
    const args = ["--config", configFile, "--home", home.directory];
    {
      // Enrols everything. Afterwards the gateway is started without a supervisor, which would wait between restarts.
      await using supervisor = new Supervisor();
      await startDomain({ home, config, configFile, supervisor });
    }
    const supervisor = resources.use(new Supervisor());
    const service = (name: string) => ({ name, args: [name, ...args], logFile: home.logFile(name) });
    await supervisor.start(service("authority"));
    const gateway = resources.use(new GatewayProcess(["gw", ...args], join(folder, "gateway.log")));
    await gateway.start();
    await supervisor.start(service("registry"));
    const operator = resources.use(await Operator.open(config));
    return {
      gateway,
      admin() {
        const [own] = operator.gateways();
        if (own === undefined) throw new Error("no gateway");
        return operator.gateway(own);
      },
      agent: async (name) => resources.use(await connectAgent({ home, config, name })),
      [Symbol.asyncDispose]: () => resources.disposeAsync(),
    };
  } catch (thrown) {
    await resources.disposeAsync();
    throw thrown;
  }
}
