/** The bridge to A2A, both ways: an A2A agent onto the network, A2A clients into it. */
import { randomBytes } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { createLog } from "@causeway/adapter-telemetry";
import { refuse, shortName } from "@causeway/core-base";
import type { Command } from "commander";
import { runService } from "../processes/lifecycle.ts";
import { sentenceOf } from "../terminal/failure.ts";
import { type AgentCommandOptions, connect, tokenOf, withAgentOptions } from "./acting.ts";
import { type CommonOptions, contextOf, withCommonOptions } from "./context.ts";
import { numberOf } from "./data.ts";
import { type DiscoveryCommandOptions, discoveryOf, withDiscoveryOptions } from "./discovery.ts";

interface AttachOptions extends CommonOptions, DiscoveryCommandOptions {
  readonly name?: string;
  readonly token?: string;
  readonly languages: string;
  readonly rate?: string;
  readonly attachments: string;
  readonly innerUrls?: boolean;
}

const rateMax = 1_000_000;
const attachmentsMax = 8;

export function addA2aCommands(program: Command): void {
  withDiscoveryOptions(withCommonOptions(program.command("attach <url>")))
    .description("take a running A2A agent onto the network until Ctrl-C")
    .option("--name <name>", "its Agent ID (default: <domain>/a2a/<name of its card>)")
    .option("--token <token>", "join token, when the operator's identity is not on this machine")
    .option("--languages <codes>", "BCP 47 codes, separated by commas", "en")
    .option("--inner-urls", "register the card although it names addresses of an inner network, which others then read")
    .option("--rate <n>", "messages that it takes each second; its gateway refuses more for it (default: any)")
    .option("--attachments <n>", "gateways that it is attached to at once, as far as there are so many", "1")
    .action(attach);

  withAgentOptions(program.command("a2a"))
    .description("serve the agents of the network to A2A clients of this machine and user until Ctrl-C")
    .option("--listen <port>", "port on 127.0.0.1; 0 takes a free one", "7480")
    .option("--token-file <file>", "serve whoever sends the token of this file instead; made when it is not there")
    .action(a2a);
}

async function attach(url: string, options: AttachOptions): Promise<void> {
  const { out, home } = contextOf(options);
  const config = home.config(options, options.name);
  const discovery = discoveryOf(options);
  const messagesPerSecondMax = options.rate === undefined ? 0 : numberOf(options.rate, "--rate", 1, rateMax);
  const attachments = numberOf(options.attachments, "--attachments", 1, attachmentsMax);
  const { attachA2aAgent, openUpstream } = await import("@causeway/bridge-a2a");
  const upstream = await out.during(`fetching the card of ${url}`, openUpstream(url));
  const { loopback } = upstream.innerUrls;
  if (loopback.length > 0)
    out.problem(
      `causeway: note: the card names ${loopback[0]}, which means nothing on other machines; it is registered as its owner wrote it, and others reach the agent through the network`,
    );
  const name = options.name ?? `${config.domain}/a2a/${slug(upstream.card.name)}`;
  const log = createLog({ level: "warn", fields: { service: "attach" } });
  await runService(log, async (signal) => {
    const agent = await out.during(
      `connecting ${name}`,
      connect({
        ...{ home, config, name, log, signal, messagesPerSecondMax, attachments },
        ...(discovery && { discovery }),
        ...tokenOf(options),
      }),
    );
    const attached = await out.during(
      `registering ${name}`,
      attachA2aAgent(agent, upstream, {
        languages: options.languages.split(","),
        innerUrls: options.innerUrls === true,
      }),
    );
    out.result(
      {
        ok: true,
        agentId: agent.id,
        name: upstream.card.name,
        resourceId: attached.registration.resourceId,
        gateway: agent.status().gateway,
      },
      () => `${out.style.good("attached")} ${upstream.card.name} as ${shortName(agent.id)}. Ctrl-C detaches it.`,
    );
    return {
      url: upstream.url,
      async stop() {
        await attached[Symbol.asyncDispose]();
        await agent.close();
      },
    };
  });
}

interface EndpointCommandOptions extends AgentCommandOptions {
  readonly listen: string;
  readonly tokenFile?: string;
}

async function a2a(options: EndpointCommandOptions): Promise<void> {
  const { out, home } = contextOf(options);
  const port = numberOf(options.listen, "--listen", 0, 65_535);
  const config = home.config(options, options.as);
  const { tokenFile } = options;
  const access = tokenFile === undefined ? "same-user" : { token: tokenOfFile(tokenFile) };
  const { openA2aEndpoint } = await import("@causeway/bridge-a2a");
  const log = createLog({ level: "warn", fields: { service: "a2a" } });
  await runService(log, async (signal) => {
    const name = options.as ?? `${config.domain}/cli/a2a`;
    const agent = await out.during(
      `connecting ${name}`,
      connect({ home, config, name, log, signal, advertise: false, ...tokenOf(options) }),
    );
    const endpoint = await openA2aEndpoint(agent, { port, access });
    out.result(
      { ok: true, url: endpoint.url },
      () =>
        `A2A endpoint: ${endpoint.url}/agents/<domain>/<namespace>/<name>/ for ${tokenFile === undefined ? "programs of this user" : `clients with the token in ${tokenFile}`}. Ctrl-C ends it.`,
    );
    return {
      url: endpoint.url,
      async stop() {
        await endpoint[Symbol.asyncDispose]();
        await agent.close();
      },
    };
  });
}

/** The token in a file; a new one, for nobody but its owner to read, when there is no such file. */
function tokenOfFile(file: string): string {
  try {
    writeFileSync(file, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "EEXIST")
      throw refuse("CAUSEWAY_CONFIG_INVALID", `cannot write the token to ${file}: ${sentenceOf(thrown)}`, {
        cause: thrown,
      });
  }
  if ((statSync(file).mode & 0o077) !== 0)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `others may read ${file}; make it private: chmod 600 ${file}`);
  return readFileSync(file, "utf8").trim();
}

/** The last segment of an Agent ID from the name of a card. */
function slug(name: string): string {
  return (
    name
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/^-|-$/g, "") || "agent"
  );
}
