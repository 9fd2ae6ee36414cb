/**
 * What the SDK takes from the end-to-end layer. Types only: the platform brings the implementation, so that this entry
 * stays free of any runtime's cryptography.
 */
import type { EndToEnd, EndToEndOptions } from "@causeway/e2ee";

export type {
  DeliveryPort,
  EndToEnd,
  FetchedKeyPackage,
  GroupChange,
  GroupView,
  MlsIdentity,
  Opened,
  SealedFrame,
  StateStore,
} from "@causeway/e2ee";

/** What the platform adds by itself: the store and the key of the state in it. */
export type CreateEndToEnd = (
  options: Pick<EndToEndOptions, "agentId" | "mls" | "verifyLeaf" | "delivery" | "clock" | "onEvent">,
) => Promise<EndToEnd>;
