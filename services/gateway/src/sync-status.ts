import { create } from "@bufbuild/protobuf";
import type { Now } from "@causeway/core-base";
import { amsp } from "@causeway/core-wire";
import type { SyncDriver } from "./sync-driver.ts";

const roles = {
  level1: amsp.PeerRole.LEVEL1,
  level2: amsp.PeerRole.LEVEL2,
  reader: amsp.PeerRole.READER,
} as const;

/** What SyncService.Status answers. */
export function syncStatus(sync: SyncDriver, now: Now): amsp.StatusResponse {
  return create(amsp.StatusResponseSchema, {
    records: BigInt(sync.machine.recordCount()),
    vector: sync.machine
      .vector()
      .map(({ origin, epoch, sequence }) => create(amsp.OriginVectorSchema, { origin, epoch, sequence })),
    peers: sync.machine.peers().map((peer) =>
      create(amsp.PeerStatusSchema, {
        gatewayUri: peer.name,
        role: roles[peer.role],
        state: peer.state,
        received: BigInt(peer.received),
        sent: BigInt(peer.sent),
        loopsDiscarded: BigInt(peer.loopsDiscarded),
        sinceUnixMs: BigInt(Math.round(now.unix - (now.instant - peer.since))),
      }),
    ),
  });
}
