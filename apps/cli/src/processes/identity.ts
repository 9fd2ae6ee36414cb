/** The identity of a service process: from its vault, or by the join token that was laid beside it. */

import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import { type IdentityKeeper, openIdentityKeeper, openKeyVault } from "@causeway/adapter-keys";
import { type AgentId, type Log } from "@causeway/core-base";
import { connectAuthority, fetchRoot } from "./wiring.ts";

/** Name of the file with a one-time join token; removed once it is used. */
export const tokenFile = "join-token";

export async function openServiceIdentity(options: {
  /** Directory of this service. */
  readonly directory: string;
  readonly masterKeyFile: string;
  readonly spiffeId: AgentId;
  /** Overrides the token file. */
  readonly token?: string;
  readonly log: Log;
  readonly signal?: AbortSignal;
}): Promise<IdentityKeeper> {
  const { directory, masterKeyFile, spiffeId, log } = options;
  const file = join(directory, tokenFile);
  const token = options.token ?? (existsSync(file) ? readFileSync(file, "utf8").trim() : undefined);
  const keeper = await openIdentityKeeper({
    scheduler: createScheduler(),
    random: systemRandom,
    vault: await openKeyVault({ directory: join(directory, "identity"), masterKeyFile }),
    connect: connectAuthority,
    fetchRoot,
    log,
    ...(token !== undefined && { enrolment: { token, spiffeId } }),
    ...(options.signal && { signal: options.signal }),
  });
  rmSync(file, { force: true });
  return keeper;
}
