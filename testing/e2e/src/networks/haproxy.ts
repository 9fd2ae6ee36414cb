/** haproxy of Debian in front of a gateway: passing TLS through, or ending it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import type { TlsIdentity } from "@causeway/adapter-keys";
import { freePorts } from "../../../../apps/cli/src/processes/free-ports.ts";
import { debianTools } from "../debian.ts";
import { until } from "../world.ts";

export const haproxyTools = () => debianTools({ name: "haproxy", packages: ["haproxy"], check: ["haproxy", "-v"] });

export type ProxyKind =
  | { readonly kind: "pass-through" }
  /** Ends TLS as `front`, and goes on to the gateway as `client`. */
  | { readonly kind: "terminating"; readonly front: TlsIdentity; readonly client: TlsIdentity };

export interface Proxy extends AsyncDisposable {
  /** https://127.0.0.1:port */
  readonly url: string;
}

/** Starts a proxy before the gateway at `target`. */
export async function startProxy(
  env: NodeJS.ProcessEnv,
  folder: string,
  target: string,
  proxy: ProxyKind,
): Promise<Proxy> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const [port = 0] = await freePorts(1);
  const { host } = new URL(target);
  let front = "";
  let server = "";
  if (proxy.kind === "terminating") {
    const file = (name: string, { key, chainPem }: TlsIdentity): string => {
      const path = join(folder, name);
      writeFileSync(path, `${chainPem}\n${key}`, { mode: 0o600 });
      return path;
    };
    front = ` ssl crt ${file("front.pem", proxy.front)} alpn h2 ssl-min-ver TLSv1.3`;
    server = ` ssl crt ${file("client.pem", proxy.client)} verify none alpn h2 ssl-min-ver TLSv1.3`;
  }
  const configuration = join(folder, "haproxy.cfg");
  writeFileSync(
    configuration,
    `defaults
  mode ${proxy.kind === "terminating" ? "http" : "tcp"}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend in
  bind 127.0.0.1:${port}${front}
  default_backend gateway
backend gateway
  server gw ${host}${server}
`,
  );
  const child: ChildProcess = spawn("haproxy", ["-db", "-f", configuration], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  await until("haproxy", () => {
    if (child.exitCode !== null) throw new Error(`haproxy ended: ${output}`);
    return answers(port);
  });
  return {
    url: `https://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      child.kill();
      await ended;
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, "127.0.0.1");
    const finish = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("connect", () => finish(true));
    socket.on("error", () => finish(false));
  });
}
