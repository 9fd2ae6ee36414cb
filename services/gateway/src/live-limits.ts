/** How a change of a limit reaches the parts of a gateway that do not read it at each use. */
import { type AnyLimitTable, type LimitChange, LiveLimits, limitsBeside } from "@causeway/core-base";
import type { ForwardingTable, HopTrace } from "@causeway/core-forwarding";
import type { AttachmentDriver } from "./attachment-driver.ts";
import type { EventFeed } from "./event-feed.ts";
import {
  type AllGatewayLimits,
  allGatewayLimits,
  contradictionIn,
  gatewayLimitRules,
  syncLimitsOf,
} from "./limit-rules.ts";
import type { Links } from "./links.ts";
import type { GatewayConfig } from "./ports.ts";
import type { Resolver } from "./resolver.ts";
import type { SyncDriver } from "./sync-driver.ts";

/** The limits of a gateway with this configuration, and of what it runs on. */
export function createGatewayLimits(
  configured: GatewayConfig["limits"],
  beside?: AnyLimitTable,
): LiveLimits<AllGatewayLimits> {
  const own = { defaults: allGatewayLimits, rules: gatewayLimitRules, contradiction: contradictionIn };
  return new LiveLimits({ ...limitsBeside(own, beside), ...(configured && { configured }) });
}

/** Parts that keep something of their own made from limits. All others read the live values. */
export interface LimitedParts {
  readonly attachments: AttachmentDriver;
  readonly links: Links;
  readonly table: ForwardingTable;
  readonly trace: HopTrace;
  readonly events: EventFeed;
  readonly sync: SyncDriver;
  readonly resolver: Resolver;
}

/** Carries a change on. */
export function applyLimits(parts: LimitedParts, values: AllGatewayLimits, changes: readonly LimitChange[]): void {
  const names = new Set(changes.map((each) => each.name));
  parts.attachments.applyLimits();
  for (const entry of parts.links.all()) entry.applyRates(values);
  parts.events.applyLimits();
  parts.resolver.applyLimits();
  parts.table.returnPaths.setBounds({ lastsMs: values.returnPathMs, entriesMax: values.returnPathsMax });
  if (names.has("hopRecordsMax")) parts.trace.setBound(values.hopRecordsMax);
  if (changes.some((each) => each.name.startsWith("sync."))) parts.sync.applyLimits(syncLimitsOf(values));
}
