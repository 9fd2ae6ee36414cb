/**
 * Hello (AMSP-103): what this side says of itself and how it judges what the other side says. Name and level are
 * certified; a Hello that claims something else is refused.
 */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ErrorFacts, type GatewayUri, parseGatewayUri } from "@causeway/core-base";
import { compareVersions, type Version } from "@causeway/core-records";
import type { amsp } from "@causeway/core-wire";
import { encodeRole } from "./level.ts";
import type { Peer } from "./peer.ts";
import type { SyncState } from "./sync-state.ts";

/** Version of AMSP that this code speaks. */
export const syncVersion = 1;

/** Our Hello to a peer, with the point to resume from and what we hold. */
export function helloFor(state: SyncState, peer: Peer): MessageInitShape<typeof amsp.HelloSchema> {
  const { received } = peer;
  const token = received.isWaitingForSnapshot || received.isScopeDoubtful ? undefined : received.token;
  return {
    version: syncVersion,
    gatewayUri: state.self.name,
    role: encodeRole(state.self.role),
    features: ["withdraw", "resume"],
    keepAliveMs: state.limits.keepAliveMs,
    have: [...state.vector].map(([origin, version]) => ({ origin, ...version })),
    recordsMax: Math.min(state.limits.recordsPerPeerMax, 0xffff_ffff),
    ...(token !== undefined && { resumeToken: token, resumeNumber: received.processed }),
  };
}

/** Why a Hello is refused; undefined when it is in order. */
export function refuseHello(peer: Peer, hello: amsp.Hello): ErrorFacts | undefined {
  if (hello.version < syncVersion) {
    return {
      code: "CAUSEWAY_SYNC_VERSION_UNSUPPORTED",
      message: `expected AMSP version ${syncVersion} or later, got ${hello.version}; update the older gateway`,
    };
  }
  if (hello.gatewayUri !== peer.name) {
    return {
      code: "CAUSEWAY_IDENTITY_MISMATCH",
      message: `expected ${peer.name} as certified, got ${JSON.stringify(hello.gatewayUri.slice(0, 100))}`,
    };
  }
  if (hello.role !== encodeRole(peer.role)) {
    return {
      code: "CAUSEWAY_SYNC_PEER_NOT_ALLOWED",
      message: `expected the role ${peer.role} as certified, got another one; the level comes from the certificate`,
    };
  }
  return undefined;
}

/** The interval at which we send KeepAlive: the shorter of both wishes, within bounds. */
export function negotiateKeepAlive(ownMs: number, theirMs: number): number {
  return Math.min(ownMs, Math.max(theirMs || ownMs, keepAliveMsMin));
}

/** The origins of a vector as a map; what is not a gateway URI is left out, the newest of doubles counts. */
export function vectorMap(vector: readonly amsp.OriginVector[]): Map<GatewayUri, Version> {
  const map = new Map<GatewayUri, Version>();
  for (const { origin, epoch, sequence } of vector.slice(0, vectorEntriesMax)) {
    const uri = asGatewayUri(origin);
    const held = uri === undefined ? undefined : map.get(uri);
    if (uri !== undefined && (held === undefined || compareVersions({ epoch, sequence }, held) > 0)) {
      map.set(uri, { epoch, sequence });
    }
  }
  return map;
}

function asGatewayUri(text: string): GatewayUri | undefined {
  try {
    return parseGatewayUri(text);
  } catch {
    // A vector only saves bytes; an entry that is no name saves none.
    return undefined;
  }
}

/** A peer cannot make us send KeepAlive more often than this. */
const keepAliveMsMin = 1_000;
/** Origins in one vector; the rest is sent in full. */
const vectorEntriesMax = 100_000;
