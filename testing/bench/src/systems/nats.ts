import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../free-port.ts";
import { type PeerCertificates, peerCertificates } from "../peer-certificates.ts";
import type { RelaySystem } from "../system.ts";

/** nats-server: core NATS, one subject for each direction. */
export function natsSystem(): RelaySystem {
  return {
    name: "nats",
    description:
      "nats-server, core NATS (JetStream with file storage for what is stored), client: NATS protocol over a TLS socket, one write for each turn",
    async prepare() {
      if (version() === undefined && process.getuid?.() === 0) {
        process.stderr.write("bench: installing nats-server with apt-get ...\n");
        spawnSync("apt-get", ["install", "-y", "-qq", "nats-server"], { stdio: "ignore" });
      }
      const found = version();
      return found === undefined
        ? { missing: "nats-server is not installed and apt-get could not install it; install the package nats-server" }
        : { version: found };
    },
    async start(processes, workDir, isStoring = false) {
      const port = await freePort();
      const files = peerCertificates(workDir);
      const config = join(workDir, "nats.conf");
      const storage = isStoring
        ? `jetstream { store_dir: ${JSON.stringify(join(workDir, "jetstream"))}, max_file_store: 64GB }\n`
        : "";
      writeFileSync(config, configuration(port, files, ', min_version: "1.3"') + storage);
      // Older servers refuse keys that they don't know; the clients insist on TLS 1.3 anyway.
      if (spawnSync("nats-server", ["-t", "-c", config]).status !== 0)
        writeFileSync(config, configuration(port, files, "") + storage);
      const server = processes.program("nats-server", ["-c", config]);
      await listening(port, () => (server.exitCode === null ? undefined : processes.outputOf(server)));
      const settings = { port, ca: files.ca, cert: files.client.cert, key: files.client.key };
      return {
        pid: server.pid ?? 0,
        clients: { sender: { client: "nats", settings }, receiver: { client: "nats", settings } },
        stop: () => processes.end(server),
      };
    },
  };
}

function configuration(port: number, files: PeerCertificates, minVersion: string): string {
  const [cert, key, ca] = [files.server.cert, files.server.key, files.ca].map((path) => JSON.stringify(path));
  return `listen: "127.0.0.1:${port}"
max_payload: 4194304
max_pending: 268435456
tls { cert_file: ${cert}, key_file: ${key}, ca_file: ${ca}, verify: true${minVersion} }
`;
}

function version(): string | undefined {
  const result = spawnSync("nats-server", ["--version"], { encoding: "utf8" });
  return result.status === 0 ? result.stdout.trim().replace(/^nats-server: /, "") : undefined;
}

/** Resolves when something listens on the port. */
async function listening(port: number, ended: () => string | undefined): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
      socket.destroy();
      return;
    } catch {
      // Not yet.
      const output = ended();
      if (output !== undefined) throw new Error(`nats-server ended: ${output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error("nats-server does not listen after 5 s");
}
