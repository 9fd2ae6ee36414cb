/**
 * What the SDK needs of the end-to-end layer. Types only: the platform brings the implementation, so that this entry
 * stays free of any runtime's cryptography.
 */
import type { AgentId, Log } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";

/** Bytes under names. */
export interface StateStore {
  get(key: string): Promise<Uint8Array | undefined>;
  put(key: string, value: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  list(prefix: string): Promise<readonly string[]>;
}
export type CreateEndToEnd = (options: { readonly agentId: AgentId; readonly verifyLeaf: (chain: readonly Uint8Array[]) => VerifiedPeer; readonly log: Log }) => Promise<unknown>;
