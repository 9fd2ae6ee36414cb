/** Enrolment without a token: an application that an operator decides. */
import { join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import { type EnrolmentMaterial, openIdentityKeeper, openKeyVault } from "@causeway/adapter-keys";
import { type AgentId, domainOf, refuse } from "@causeway/core-base";
import type { aca } from "@causeway/core-wire";
import { fingerprintsOf } from "./bundle.ts";
import { connectAuthority, fetchRoot } from "./wiring.ts";

/** What an application needs. */
export interface ApplicationOptions {
  /** Where the agent's keys and state are kept; the SDK's `dataDir` when the agent runs. */
  readonly directory: string;
  readonly masterKeyFile: string;
  readonly agentId: AgentId;
  /** Of the domain that the agent joins: its authority's URL, and the root that it has to have. */
  readonly bundle: aca.TrustBundle;
  readonly material: EnrolmentMaterial;
  readonly onPending: (applicationId: string) => void;
}

/**
 * Applies and waits for the decision. When it is interrupted, the same call later goes on with the same keys. Throws
 * `CAUSEWAY_IDENTITY_APPLICATION_REJECTED` when the operator said no.
 */
export async function applyForIdentity(
  options: ApplicationOptions,
): Promise<{ readonly directory: string; readonly notAfterUnixMs: number }> {
  const { agentId, bundle, directory } = options;
  const domain = domainOf(agentId);
  const [rootFingerprint] = fingerprintsOf(bundle);
  if (bundle.domain !== domain || rootFingerprint === undefined) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected the trust bundle of ${domain} for ${agentId}, got that of ${bundle.domain}`,
    );
  }
  await using keeper = await openIdentityKeeper({
    scheduler: createScheduler(),
    random: systemRandom,
    vault: await openKeyVault({ directory: join(directory, "identity"), masterKeyFile: options.masterKeyFile }),
    connect: connectAuthority,
    fetchRoot,
    enrolment: { authorityUrl: bundle.authorityUrl, rootFingerprint, spiffeId: agentId, material: options.material },
    onPending: options.onPending,
  });
  const notAfter = keeper.identity.validity().map((validity) => validity.notAfterUnixMs);
  return { directory, notAfterUnixMs: Math.min(...notAfter) };
}
