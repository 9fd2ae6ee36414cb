/** What the lab saw. */
import type { AgentReport } from "@causeway/agent/node";

/** How it went with one agent. */
export interface Attempt {
  readonly event: string;
  readonly gateway?: string;
  readonly discovery?: AgentReport["discovery"];
  /** Discoveries and dials that failed, each with its code. */
  readonly failures: readonly string[];
  readonly code?: string;
  readonly message?: string;
  /** What it answered to another agent. */
  readonly answer?: string;
  /** What an impostor noticed meanwhile. */
  readonly heard?: readonly string[];
}

export interface LabReport {
  readonly dns: Record<string, Attempt>;
  readonly dhcp: Record<string, Attempt>;
  readonly anycast: { readonly first: Attempt; readonly lost: Attempt; readonly second: Attempt };
  readonly datagram: Attempt;
  readonly flooded: { readonly overTls: Attempt; readonly inDatagrams: Attempt; readonly isFlooding: boolean };
  readonly impostors: Record<string, Attempt>;
}
