import type { AuthorityStore, Log, UnixMs } from "@causeway/core-base";
import type { CryptoPort } from "@causeway/core-identity";
import type { AuthoritySettings } from "./config.ts";
import type { Hierarchy } from "./hierarchy.ts";
import type { TrustFeed } from "./trust-feed.ts";

/** What every part of the authority works with. */
export interface AuthorityContext {
  readonly settings: AuthoritySettings;
  readonly store: AuthorityStore;
  readonly crypto: CryptoPort;
  readonly log: Log;
  readonly hierarchy: Hierarchy;
  readonly feed: TrustFeed;
  now(): UnixMs;
}

/** Writes a line of the audit log; part of the transaction of the decision that it records. */
export function audit(context: AuthorityContext, action: string, actor: string, subject: string, facts = ""): void {
  context.store.appendAudit({ atUnixMs: context.now(), action, actor, subject, facts });
  context.log.info(`authority.${action.replace(".", "_")}`, { actor, subject });
}
