/** Reading challenge and lease at the agent: untrusted bytes become checked facts or a typed refusal (AAP-105). */
import { fromBinary } from "@bufbuild/protobuf";
import { asUnixMs, type ErrorFacts, isCausewayError } from "@causeway/core-base";
import { type CryptoPort, type VerifiedPeer, verifyByPeer } from "@causeway/core-identity";
import { aap } from "@causeway/core-wire";
import type { Lease } from "./effects.ts";
import { isFeatureList, missingFeatures, negotiate, securityFeatures } from "./features.ts";
import { decodeGatewayUse } from "./gateway-use.ts";
import { leaseMessage, nonceBytes } from "./transcript.ts";

/** What a checked challenge says: the features that the lease has to name. */
export interface ChallengeFacts {
  readonly features: readonly string[];
}

const malformed = (message: string): ErrorFacts => ({ code: "CAUSEWAY_FRAME_MALFORMED", message });

/** Checks a challenge against the verified gateway that sent it (AAP-58) and what the agent offers and needs. */
export function readChallenge(
  bytes: Uint8Array,
  peer: VerifiedPeer,
  own: readonly string[],
  required: readonly string[],
): ChallengeFacts | ErrorFacts {
  let challenge: aap.AttachChallenge;
  try {
    challenge = fromBinary(aap.AttachChallengeSchema, bytes);
  } catch {
    return malformed("expected an AttachChallenge, got bytes that do not decode");
  }
  if (challenge.nonce.length !== nonceBytes)
    return malformed(`expected a nonce of ${nonceBytes} bytes, got ${challenge.nonce.length}`);
  if (challenge.gatewayId !== peer.spiffeId || challenge.gatewayUri !== peer.gateway?.uri) {
    return {
      code: "CAUSEWAY_IDENTITY_MISMATCH",
      message: `expected the certified gateway ${peer.spiffeId}, got a challenge that names another`,
    };
  }
  if (!isFeatureList(challenge.features)) return malformed("expected at most 64 features of the form name/version");
  const features = negotiate(own, challenge.features);
  // What is needed of the gateway this agent need not speak itself; what protects the attachment both have to.
  const missing = new Set([
    ...missingFeatures(features, securityFeatures),
    ...missingFeatures(challenge.features, required),
  ]);
  if (missing.size > 0) {
    return {
      code: "CAUSEWAY_ATTACHMENT_FEATURE_MISSING",
      message: `expected the features ${[...missing].join(", ")}, which ${peer.spiffeId} does not offer`,
    };
  }
  return { features };
}

/** What a lease has to be signed over, beside itself. */
export interface LeaseContext {
  readonly binding: Uint8Array;
  readonly transcript: { readonly hello: Uint8Array; readonly challenge: Uint8Array; readonly proof: Uint8Array };
}

/** Why the signature of a lease is not the gateway's over this handshake on this channel; undefined when it is. */
export function verifyLease(
  crypto: CryptoPort,
  peer: VerifiedPeer,
  { binding, transcript }: LeaseContext,
  bytes: Uint8Array,
): ErrorFacts | undefined {
  let signature: Uint8Array;
  try {
    ({ signature } = fromBinary(aap.AttachmentLeaseSchema, bytes));
  } catch {
    return malformed("expected an AttachmentLease, got bytes that do not decode");
  }
  try {
    verifyByPeer(crypto, peer, leaseMessage(crypto, binding, transcript, bytes), signature);
    return undefined;
  } catch (thrown) {
    if (!isCausewayError(thrown)) throw thrown;
    return {
      code: "CAUSEWAY_ATTACHMENT_PROOF_INVALID",
      message: `the lease is not signed by ${peer.spiffeId} over this handshake; someone may have changed it on the way`,
    };
  }
}

/** Checks the fields of a lease whose signature was verified. One that lacks a field is refused. */
export function readLease(
  bytes: Uint8Array,
  peer: VerifiedPeer,
  expected: { readonly features: readonly string[]; readonly attachmentSequence: bigint },
): Lease | ErrorFacts {
  const lease = fromBinary(aap.AttachmentLeaseSchema, bytes);
  const gatewayUri = peer.gateway?.uri;
  const lifetimeMs = Number(lease.lifetimeMs);
  const heartbeatMs = Number(lease.heartbeatIntervalMs);
  if (gatewayUri === undefined) return malformed("expected the peer to be a certified gateway");
  if (lease.leaseId.length === 0 || lease.leaseId.length > 64) return malformed("expected a lease id of 1 to 64 bytes");
  if (!(lifetimeMs >= leaseMsMin && lifetimeMs <= dayMs))
    return malformed(`expected a lease lifetime of ${leaseMsMin} ms to 24 h, got ${lease.lifetimeMs} ms`);
  if (!(heartbeatMs >= heartbeatMsMin && heartbeatMs <= lifetimeMs))
    return malformed(
      `expected a heartbeat interval from ${heartbeatMsMin} ms to the lifetime of the lease, got ${lease.heartbeatIntervalMs} ms`,
    );
  if (lease.model !== aap.AttachmentModel.STATEFUL && lease.model !== aap.AttachmentModel.SOFT) {
    return malformed("expected the model stateful or soft in the lease");
  }
  if (lease.gatewayUnixMs === 0n || lease.gatewayUnixMs > BigInt(Number.MAX_SAFE_INTEGER))
    return malformed("expected the gateway's time in the lease");
  if (lease.attachmentSequence !== expected.attachmentSequence) {
    return malformed(
      `expected the attachment sequence ${expected.attachmentSequence} in the lease, got ${lease.attachmentSequence}`,
    );
  }
  if (lease.features.join() !== expected.features.join()) {
    return {
      code: "CAUSEWAY_ATTACHMENT_FEATURE_MISSING",
      message: `expected the negotiated features ${expected.features.join(", ")} in the lease, got ${lease.features.join(", ")}`,
    };
  }
  return {
    leaseId: lease.leaseId,
    lifetimeMs,
    heartbeatMs,
    model: lease.model === aap.AttachmentModel.SOFT ? "soft" : "stateful",
    features: lease.features,
    gatewayUnixMs: asUnixMs(Number(lease.gatewayUnixMs)),
    attachmentSequence: lease.attachmentSequence,
    gatewayId: peer.spiffeId,
    gatewayUri,
    gatewayUse: decodeGatewayUse(lease.gatewayUse),
  };
}

const dayMs = 86_400_000;
/** A gateway must not make an agent send faster, nor refresh a soft lease more often, than this allows. */
const heartbeatMsMin = 1_000;
const leaseMsMin = 3_000;
