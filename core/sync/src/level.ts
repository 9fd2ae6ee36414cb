/**
 * Levels and roles (AMSP-44, AMSP-47, AMSP-54, AMSP-103): what a certificate makes of a peer, and who may peer with
 * whom. A Level-1 gateway and a reader dial a Level-2 gateway and are never dialled; Level-2 gateways dial each other.
 */
import type { ErrorFacts } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { amsp } from "@causeway/core-wire";
import type { PeerName, SyncRole } from "./effects.ts";
import type { SyncSelf } from "./options.ts";

/** Name and role that a certificate proves, or undefined when it is neither a gateway's nor a registry's. */
export function certifiedPeer(peer: VerifiedPeer): { readonly name: PeerName; readonly role: SyncRole } | undefined {
  if (peer.role === "registry") return { name: peer.spiffeId, role: "reader" };
  if (peer.role !== "gateway" || peer.gateway === undefined) return undefined;
  return { name: peer.gateway.uri, role: peer.gateway.level === 1 ? "level1" : "level2" };
}

/** Why this pair may not hold a session in this direction; undefined when it may. */
export function refusePairing(
  self: SyncSelf,
  peer: { readonly name: PeerName; readonly role: SyncRole; readonly domain: string },
  weDialled: boolean,
): ErrorFacts | undefined {
  const notAllowed = (message: string): ErrorFacts => ({ code: "CAUSEWAY_SYNC_PEER_NOT_ALLOWED", message });
  if (peer.name === self.name) {
    return {
      code: "CAUSEWAY_SYNC_DUPLICATE_GATEWAY",
      message: `expected another gateway, got one with our own name ${self.name}; give each gateway its own identity`,
    };
  }
  if (self.role !== "level2" && peer.role !== "level2") {
    return notAllowed(`expected a Level-2 gateway, got ${peer.name}, which is certified as ${peer.role}`);
  }
  const dialler = weDialled ? self.role : peer.role;
  const other = weDialled ? peer.role : self.role;
  if (other !== "level2") {
    return notAllowed(`expected the Level-1 side to dial, got a session that a ${dialler} gateway dialled`);
  }
  const edge = self.role === "level2" ? peer.role : self.role;
  if (edge !== "level2" && peer.domain !== self.domain) {
    return notAllowed(`expected a peer of ${self.domain}, got ${peer.name} of ${peer.domain}`);
  }
  return undefined;
}

export function encodeRole(role: SyncRole): amsp.PeerRole {
  return roleCodes[role];
}

const roleCodes = {
  level1: amsp.PeerRole.LEVEL1,
  level2: amsp.PeerRole.LEVEL2,
  reader: amsp.PeerRole.READER,
} as const satisfies Record<SyncRole, amsp.PeerRole>;
