/** What a registry keeps on disk, as a port. Synchronous: it answers only after the write. */
import type { AgentId } from "./ids.ts";
import type { UnixMs } from "./time.ts";

/** One registration (C-13). */
export interface StoredRegistration {
  readonly agentId: AgentId;
  /** Opaque handle, unique and not guessable. */
  readonly resourceId: string;
  readonly revision: bigint;
  /** SHA-256 of the record's body. */
  readonly digest: Uint8Array;
  /** Serialised SignedRecord. */
  readonly record: Uint8Array;
  readonly registeredAt: UnixMs;
  readonly updatedAt: UnixMs;
  /** When it was deregistered; kept for audit until the retention time is over (ANA-90). */
  readonly deregisteredAt: UnixMs | undefined;
}

/**
 * The durable state of one registry. Every method is atomic and durable when it returns. A full disk throws
 * `CAUSEWAY_STORE_FULL` and leaves the state as it was; any other failure throws `CAUSEWAY_STORE_FAILED`.
 */
export interface RegistryStore {
  /** Inserts or replaces by agentId. */
  put(registration: StoredRegistration): void;
  get(agentId: AgentId): StoredRegistration | undefined;
  /** Every registration, deregistered ones included. */
  all(): IterableIterator<StoredRegistration>;
  /** Removes registrations that were deregistered before `before`; returns how many. */
  prune(before: UnixMs): number;
  /** Appends to the audit log (ANA-63, ANA-89). */
  audit(entry: {
    readonly at: UnixMs;
    readonly caller: string;
    readonly action: string;
    readonly outcome: string;
  }): void;
}
