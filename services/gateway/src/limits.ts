import { defaults } from "@causeway/core-base";
import type { GatewayLimits } from "./ports.ts";

/** Default bounds of a gateway. */
export const gatewayLimits: GatewayLimits = {
  heartbeatMs: defaults.heartbeatMs,
  staleAfterMs: defaults.staleAfterMs,
  removeAfterStaleMs: defaults.removeAfterStaleMs,
  leaseMs: defaults.leaseMs,
  handshakeMs: 10_000,
  attachmentsMax: 100_000,
  heldMessagesMax: 100,
  heldBytesMax: 1_048_576,
  heldTotalBytesMax: 67_108_864,
  heldMsMax: defaults.removeAfterStaleMs,
  linkBufferedBytesMax: 8_388_608,
  agentMessagesPerSecond: 200_000,
  agentBytesPerSecond: 1_073_741_824,
  rateBurstSeconds: 2,
  peerRateFactor: 10,
  pauseMsMax: 5_000,
  floodCloseAfter: 10_000,
  keyPackagesMax: 1_000,
  commitsPerGroupMax: 1_000,
  groupIdleMs: 30 * 86_400_000,
  subscriptionsPerAgentMax: defaults.subscriptionsActiveMax,
  topicsPerAgentMax: 1_000,
  hopRecordsMax: 10_000,
  returnPathMs: 300_000,
  returnPathsMax: 100_000,
  reconnectMsMin: defaults.reconnectMsMin,
  reconnectMsMax: defaults.reconnectMsMax,
  recordBytesMax: defaults.recordBytesMax,
};
