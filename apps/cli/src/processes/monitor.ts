/** The identity of a monitoring system: kept sealed under the home, renewed, and laid as files where that one reads it. */
import { join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import {
  type IdentityKeeper,
  loadIdentity,
  loadTrust,
  openIdentityKeeper,
  openKeyVault,
  writePlainFiles,
} from "@causeway/adapter-keys";
import { defaults, type Log, refuse } from "@causeway/core-base";
import type { DomainConfig } from "../config/domain.ts";
import type { Home } from "../home.ts";
import { FileUpkeep } from "./file-upkeep.ts";
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
}

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

/** Opens the identity, enrolling it first when there is none, and writes the files. */
export async function openMonitor(options: MonitorOptions): Promise<Monitor> {
  const { home, config, name, directory, log } = options;
  const spiffeId = monitorId(config.domain, name);
  const vault = await openKeyVault({
    directory: join(home.monitorDirectory(config.domain, name), "identity"),
    masterKeyFile: home.masterKeyFile,
  });
  const token =
    options.token ?? ((await loadIdentity(vault)) === undefined ? await mintToken(config, name) : undefined);
  const scheduler = createScheduler();
  const keeper = await openIdentityKeeper({
    scheduler,
    random: systemRandom,
    vault,
    connect: connectAuthority,
    fetchRoot,
    log,
    ...(token !== undefined && { enrolment: { token, spiffeId } }),
    ...(options.signal && { signal: options.signal }),
  });
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
      if (Date.now() >= due) await renew();
    },
    stop,
  };
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
