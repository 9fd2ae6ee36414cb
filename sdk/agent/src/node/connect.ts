/** `connect`: from a name and a join token to an attached agent. */

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import { type IdentityKeeper, openIdentityKeeper, openKeyVault } from "@causeway/adapter-keys";
import { type AgentId, CausewayError, type Log, parseAgentId, refuse, shortName, silentLog } from "@causeway/core-base";
import { openAgent } from "../agent.ts";
import type { Agent } from "../api.ts";
import type { NodeDirectOptions } from "./direct-port.ts";
import { lockDirectory } from "./directory-lock.ts";
import type { DiscoveryOptions } from "./gateway-discovery.ts";
import { nodeConnector } from "./node-connector.ts";
import { connectAuthority, fetchRoot } from "./transports.ts";

/** How to take an agent onto the network. */
export interface ConnectOptions {
  /** Name of the agent: `domain/namespace/name` or the full SPIFFE ID. */
  readonly name: string;
  /** Directory of keys and state of this agent, made with mode 0700. One agent at a time uses it. */
  readonly dataDir: string;
  /** Join token of the domain's authority. Needed until the identity is in `dataDir`. */
  readonly token?: string;
  /** URLs of gateways, `https://host:port`, in order of preference. Default: the ones of the last run. */
  readonly gateway?: string | readonly string[];
  /**
   * Ways to find a gateway, in the order in which they are tried until one leads to an attachment. They only say where to
   * look: each gateway makes a signed offer and proves itself. Default: the gateways of `gateway`, in their order.
   */
  readonly discovery?: DiscoveryOptions;
  /** URL of the registry, for `register`, `discover` and `lookup`. Default: the one of the last run. */
  readonly registry?: string;
  /** File with the key that wraps `dataDir`, mode 0600. Default: beside it, `<dataDir>.key`. */
  readonly masterKeyFile?: string;
  /** Names this attachment among several of the same agent. Default `main`. */
  readonly instance?: string;
  /**
   * Gateways that the agent is attached to at once, 1 to 8, as far as there are so many. With several it is reached through
   * any of them: when one is lost the others go on at once. Others send to the one first that was found first, while it is
   * there. Default 1.
   */
  readonly attachments?: number;
  /** False keeps the agent unknown outside of its gateway. Default true. */
  readonly advertise?: boolean;
  /**
   * How the gateway keeps the attachment when the agent has the choice. `stateful`: a heartbeat each 30 seconds; after three
   * that are missing messages wait for the agent, until it is removed. `soft`: whatever the agent sends renews it, without
   * traffic a refresh at a third of the lease, and it is gone when the lease runs out in silence. A gateway that does not
   * offer it gives its own; `status().model` has what was agreed. Default `stateful`.
   */
  readonly model?: "stateful" | "soft";
  /**
   * Features that the gateway has to have, for example `mailbox/1`. One without them is passed over; `status().discovery`
   * says why. Default: none beside those that every attachment needs.
   */
  readonly requiredFeatures?: readonly string[];
  /**
   * Messages that this agent takes each second through its gateway, which refuses more for it and tells the senders when to
   * try again; reliable messages are then repeated. Default: any.
   */
  readonly messagesPerSecondMax?: number;
  /**
   * Messages inside the own domain: `always` through gateways; `prefer` them, and go directly while there is none; `never`,
   * directly only. The domain may prescribe one of them, and the stricter wins. Default `prefer`.
   */
  readonly gatewayUse?: "always" | "prefer" | "never";
  /** Direct links with agents of the own domain: where to take them, and where others do. */
  readonly direct?: NodeDirectOptions;
  /** Default: nothing is logged. */
  readonly log?: Log;
  /** Ends the attempt to connect; an agent that is connected is ended by `close`. */
  readonly signal?: AbortSignal;
  /** Milliseconds for the first attachment. Default 30,000. */
  readonly timeoutMs?: number;
}

/**
 * Enrols the agent when `dataDir` has no identity yet, attaches it to a gateway and keeps it attached. Resolves when it
 * is attached and others can reach it. Fails with the `CAUSEWAY_IDENTITY_*` code of a refused enrolment, with the reason
 * why no gateway took it, with `CAUSEWAY_STORE_IN_USE` when another agent uses `dataDir`, or with `CAUSEWAY_CANCELLED`.
 */
export async function connect(options: ConnectOptions): Promise<Agent> {
  const agentId = parseAgentId(options.name);
  const lock = await lockDirectory(options.dataDir);
  try {
    return await connectLocked(agentId, options, () => lock.release());
  } catch (thrown) {
    lock.release();
    throw CausewayError.from(thrown);
  }
}

async function connectLocked(agentId: AgentId, options: ConnectOptions, release: () => void): Promise<Agent> {
  const { dataDir, signal } = options;
  const log = options.log ?? silentLog;
  const masterKeyFile = options.masterKeyFile ?? `${dataDir.replace(/\/+$/, "")}.key`;
  const places = await placesOf(options);
  const vault = await openKeyVault({ directory: join(dataDir, "identity"), masterKeyFile });
  const abort = new AbortController();
  const onAbort = (): void => abort.abort();
  signal?.addEventListener("abort", onAbort, { once: true });
  let keeper: IdentityKeeper | undefined;
  try {
    if (signal?.aborted)
      throw refuse("CAUSEWAY_CANCELLED", "the caller cancelled the operation", { cause: signal.reason });
    keeper = await openIdentityKeeper({
      scheduler: createScheduler(),
      random: systemRandom,
      vault,
      connect: connectAuthority,
      fetchRoot,
      log,
      signal: abort.signal,
      ...(options.token !== undefined && { enrolment: { token: options.token, spiffeId: agentId } }),
    });
    if (keeper.spiffeId !== agentId) {
      throw refuse(
        "CAUSEWAY_IDENTITY_MISMATCH",
        `expected the identity of ${shortName(agentId)} in ${dataDir}, got that of ${shortName(keeper.spiffeId)}; give each agent a directory of its own`,
      );
    }
    const connector = nodeConnector({
      ...{ keeper, vault, dataDir, masterKeyFile, log, release, ...places },
      discovery: options.discovery,
      direct: options.direct ?? {},
    });
    return await openAgent(connector, {
      ...(options.instance !== undefined && { instance: options.instance }),
      ...(options.attachments !== undefined && { attachments: options.attachments }),
      ...(options.advertise !== undefined && { advertise: options.advertise }),
      ...(options.model && { model: options.model }),
      ...(options.requiredFeatures && { requiredFeatures: options.requiredFeatures }),
      ...(options.messagesPerSecondMax !== undefined && { messagesPerSecondMax: options.messagesPerSecondMax }),
      ...(options.gatewayUse && { gatewayUse: options.gatewayUse }),
      ...(options.direct && { direct: options.direct }),
      ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
      ...(signal && { signal }),
    });
  } catch (thrown) {
    await keeper?.stop();
    throw CausewayError.from(thrown);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

interface Places {
  readonly gateways: readonly string[];
  readonly registry: string | undefined;
}

/** Where the domain is: from the options, else from the last run. What the options say is kept for the next one. */
async function placesOf({ dataDir, gateway, registry, discovery }: ConnectOptions): Promise<Places> {
  const file = join(dataDir, "places.json");
  const last = await readPlaces(file);
  const given = gateway === undefined ? undefined : typeof gateway === "string" ? [gateway] : [...gateway];
  const places: Places = { gateways: given ?? last?.gateways ?? [], registry: registry ?? last?.registry };
  if (places.gateways.length === 0 && discovery === undefined) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      "expected the URL of a gateway, such as https://127.0.0.1:7401, or ways to discover one, got neither",
    );
  }
  for (const url of [...places.gateways, ...(places.registry === undefined ? [] : [places.registry])]) {
    if (!URL.canParse(url) || new URL(url).protocol !== "https:") {
      throw refuse(
        "CAUSEWAY_CONFIG_INVALID",
        `expected a URL like https://host:port, got ${JSON.stringify(url.slice(0, 100))}`,
      );
    }
  }
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await writeFile(`${file}.new`, JSON.stringify(places), { mode: 0o600 });
  await rename(`${file}.new`, file);
  return places;
}

async function readPlaces(file: string): Promise<Places | undefined> {
  try {
    const places: unknown = JSON.parse(await readFile(file, "utf8"));
    if (typeof places !== "object" || places === null || !("gateways" in places) || !Array.isArray(places.gateways))
      return undefined;
    const registry = "registry" in places && typeof places.registry === "string" ? places.registry : undefined;
    return { gateways: places.gateways.filter((url) => typeof url === "string"), registry };
  } catch {
    // Missing or damaged: the options have to say it then.
    return undefined;
  }
}
