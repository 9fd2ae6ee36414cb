/** The identity of a monitoring system: kept sealed under the home, renewed, and laid as files where that one reads it. */
import { join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import {
  type IdentityKeeper,
  isMarkedRevoked,
  type KeyVault,
  loadIdentity,
  loadTrust,
  markRevoked,
  openIdentityKeeper,
  openKeyVault,
  writePlainFiles,
} from "@causeway/adapter-keys";
import { type AgentId, CausewayError, defaults, type Log, refuse, type Scheduler } from "@causeway/core-base";
import type { DomainConfig } from "../config/domain.ts";
import type { Home } from "../home.ts";
import { FileUpkeep } from "./file-upkeep.ts";
import { holdFolder } from "./folder-lock.ts";
import { Operator } from "./operator.ts";
import { monitorId, monitorToken } from "./service-tokens.ts";
import { connectAuthority, fetchRoot } from "./wiring.ts";

export interface MonitorOptions {
  readonly home: Home;
  readonly config: DomainConfig;
  /** One segment: `prometheus` is `<domain>/monitor/prometheus`. */
  readonly name: string;
  /** Where the files go. */
  readonly directory: string;
  /** Instead of one that the operator of this machine makes. */
  readonly token?: string;
  readonly log: Log;
  readonly signal?: AbortSignal;
  /** Default: that of this process. */
  readonly scheduler?: Scheduler;
}

/** How long the authority may take to say that a certificate is good. */
const answerMs = 5_000;

/** A monitoring system's identity at work; its files follow each renewal. */
export interface Monitor {
  readonly spiffeId: string;
  notAfterUnixMs(): number;
  /** A new certificate now; the files are there afterwards. Rejects when they could not be written, and tries again. */
  renew(): Promise<void>;
  /** As `renew`, when two thirds of the lifetime of this one are over. */
  renewIfDue(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Opens the identity, enrolling it first when there is none, and writes the files. Rejects when the authority says that
 * it was revoked, and with `CAUSEWAY_STORE_IN_USE` while another process keeps it.
 */
export async function openMonitor(options: MonitorOptions): Promise<Monitor> {
  const { home, config, name } = options;
  const spiffeId = monitorId(config.domain, name);
  const held = holdFolder(home.monitorDirectory(config.domain, name));
  try {
    const monitor = await openHeld(options, spiffeId);
    const stop = async (): Promise<void> => {
      await monitor.stop();
      held[Symbol.dispose]();
    };
    return { ...monitor, stop };
  } catch (thrown) {
    held[Symbol.dispose]();
    throw thrown;
  }
}

async function openHeld(options: MonitorOptions, spiffeId: AgentId): Promise<Monitor> {
  const { home, config, name, directory, log, scheduler = createScheduler() } = options;
  const vault = await openKeyVault({
    directory: join(home.monitorDirectory(config.domain, name), "identity"),
    masterKeyFile: home.masterKeyFile,
  });
  const keeper = await openKeeper({ ...options, scheduler, spiffeId }, vault);
  const write = async (): Promise<void> => {
    const trust = await loadTrust(vault);
    if (trust === undefined)
      throw refuse("CAUSEWAY_STORE_FAILED", `expected a trust state in ${vault.directory}, got none`);
    await writePlainFiles(directory, keeper.identity, trust);
  };
  // From here on no renewal is missed, also one during the first write.
  const onChange = (listener: () => void) => keeper.onRenewed(listener);
  const files = new FileUpkeep({ write, onChange, scheduler, log, directory });
  const stop = async (): Promise<void> => {
    await keeper.stop();
    await files.stop();
  };
  try {
    await files.renew();
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  const renew = async (): Promise<void> => {
    await keeper.renew();
    await files.latest;
  };
  return {
    spiffeId,
    notAfterUnixMs: () => validityOf(keeper).notAfterUnixMs,
    renew,
    async renewIfDue() {
      const { notBeforeUnixMs, notAfterUnixMs } = validityOf(keeper);
      const due = notBeforeUnixMs + (notAfterUnixMs - notBeforeUnixMs) * defaults.renewAt;
      if (scheduler.now().unix >= due) await renew();
    },
    stop,
  };
}

/** Opens what is in the vault when it can be used, otherwise a new identity by token; else says how to get a token. */
async function openKeeper(
  options: MonitorOptions & { readonly scheduler: Scheduler; readonly spiffeId: AgentId },
  vault: KeyVault,
): Promise<IdentityKeeper> {
  const { config, name, log, scheduler, spiffeId } = options;
  const isNew = (await loadIdentity(vault)) === undefined;
  const token = options.token ?? (isNew ? await mintToken(config, name) : undefined);
  // An operator may have meant the end of this one: its successor is made by a decision, never by a timer.
  const remedy = `when it is to read metrics again, an operator makes a token (causeway cert token --monitor ${name}); give it with --token`;
  const open = async (): Promise<IdentityKeeper> => {
    try {
      return await openIdentityKeeper({
        scheduler,
        random: systemRandom,
        vault,
        connect: connectAuthority,
        fetchRoot,
        log,
        ...(token !== undefined && { enrolment: { token, spiffeId } }),
        ...(options.signal && { signal: options.signal }),
      });
    } catch (thrown) {
      const { code, family } = CausewayError.from(thrown);
      if (isNew || token !== undefined || family !== "refused") throw thrown;
      const why = `the certificate of ${spiffeId} has expired, and the authority does not renew it (${code})`;
      throw refuse("CAUSEWAY_IDENTITY_NOT_ENROLLED", `${why}; ${remedy}`, { cause: thrown });
    }
  };
  const first = await open();
  if (!(await isRevoked(first, vault))) return first;
  await first.stop();
  // Now that the vault knows, a token is used instead of it.
  const second = token === undefined ? undefined : await open();
  if (second !== undefined && !(await isRevoked(second, vault))) return second;
  await second?.stop();
  throw refuse("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED", `the certificate of ${spiffeId} was revoked; ${remedy}`);
}

/** By the word of the authority, which is kept; without an answer by what was known before. */
async function isRevoked(keeper: IdentityKeeper, vault: KeyVault): Promise<boolean> {
  try {
    await keeper.authority.getTrust({}, { timeoutMs: answerMs });
    return false;
  } catch (thrown) {
    if (CausewayError.from(thrown).code !== "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED")
      return await isMarkedRevoked(vault, keeper.identity);
    await markRevoked(vault, keeper.identity);
    return true;
  }
}

function validityOf(keeper: IdentityKeeper) {
  const [tls] = keeper.identity.validity();
  if (tls === undefined) throw new Error("an identity without a certificate");
  return tls;
}

async function mintToken(config: DomainConfig, name: string): Promise<string> {
  await using operator = await Operator.open(config);
  return (await operator.authority.createToken(monitorToken(config, name))).token;
}
