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
  /** Frames of its link up to the answer of another agent: from whom, and what. */
  readonly trace?: readonly string[];
  /** TCP connections that its machine opened meanwhile: to which address and port. */
  readonly dialled?: readonly string[];
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
  readonly static: Attempt;
  readonly directory: Record<string, Attempt>;
  readonly full: Record<string, Attempt>;
  readonly impostors: Record<string, Attempt>;
}
