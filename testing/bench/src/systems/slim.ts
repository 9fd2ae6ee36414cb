import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../free-port.ts";
import { peerCertificates } from "../peer-certificates.ts";
import { messageOf } from "../processes.ts";
import type { RelaySystem } from "../system.ts";

/** Pinned, so that two runs measure the same. */
const slimVersion = "2.0.0-alpha.5";
const bindingVersion = "0.31.0-3";

/** Kept out of the repository's installation: the package brings the binaries of every platform, 280 MB. */
export const peersDirectory: string = fileURLToPath(new URL("../../.cache/peers/", import.meta.url));
const packageDirectory = join(peersDirectory, "node_modules/@agntcy/slim-bindings");

/** SLIM's node and client, both from its Node bindings. */
export function slimSystem(): RelaySystem {
  return {
    name: "slim",
    description:
      "SLIM node of @agntcy/slim-bindings, unreliable point-to-point session without MLS; client: the bindings, the only one there is, which bound its rate (compare gateway CPU)",
    prepare: async () => install(),
    async start(processes, workDir) {
      const port = await freePort();
      const files = peerCertificates(workDir);
      const child = processes.node(new URL("../gateways/slim.ts", import.meta.url), 0);
      const ready = messageOf(child, isReady, "the SLIM node");
      child.send({ port, files, packageDirectory });
      await ready;
      const settings = { port, ca: files.ca, cert: files.client.cert, key: files.client.key, packageDirectory };
      return {
        pid: child.pid ?? 0,
        clients: { sender: { client: "slim", settings }, receiver: { client: "slim", settings } },
        stop: () => processes.end(child),
      };
    },
  };
}

function install(): { readonly version: string } | { readonly missing: string } {
  if (!existsSync(join(packageDirectory, "index.js"))) {
    const libc = process.platform === "linux" ? "-gnu" : process.platform === "win32" ? "-msvc" : "";
    const target = `${process.platform}-${process.arch}${libc}`;
    process.stderr.write(`bench: installing @agntcy/slim-bindings ${slimVersion} ...\n`);
    mkdirSync(peersDirectory, { recursive: true });
    writeFileSync(join(peersDirectory, "package.json"), '{ "private": true }\n');
    const packages = [
      `@agntcy/slim-bindings@${slimVersion}`,
      `@agntcy/slim-bindings-${target}@${slimVersion}`,
      `@ubjs/node-${target}@${bindingVersion}`,
    ];
    const flags = [
      "--no-save",
      "--no-package-lock",
      "--omit=optional",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
    ];
    const npm = spawnSync("npm", ["install", ...flags, ...packages], { cwd: peersDirectory, encoding: "utf8" });
    if (npm.status !== 0)
      return { missing: `npm could not install it: ${(npm.stderr ?? "").trim().split("\n").at(-1) ?? ""}` };
  }
  const { version } = JSON.parse(readFileSync(join(packageDirectory, "package.json"), "utf8")) as { version: string };
  return { version };
}

const isReady = (message: unknown): message is { readonly ready: true } =>
  typeof message === "object" && message !== null && "ready" in message;
