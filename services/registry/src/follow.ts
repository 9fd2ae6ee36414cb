/** What the registry takes over from its Level-2 gateway for one agent. */
import type { AgentRecord, Status } from "@causeway/core-records";
import type { record as wire } from "@causeway/core-wire";

/** The chosen candidate of one agent, as the AMSP machine has it. */
export interface FollowedRecord {
  readonly record: AgentRecord;
  readonly signedRecord: wire.SignedRecord;
  readonly signedOrigin: wire.SignedOrigin;
  readonly status: Status;
  readonly applicable: boolean;
  readonly gatewayUri: string;
  readonly path: readonly string[];
  readonly freshUnixMs: number;
}
