/**
 * The proof that a certificate chain was verified. The type carries a brand whose symbol is not exported, and only the
 * verifier of this room calls `makeVerifiedPeer`, which the package does not export: code that takes a `VerifiedPeer`
 * cannot be reached without a verification (DESIGN law 7).
 */
import type { AgentId, Domain, GatewayUri, UnixMs } from "@causeway/core-base";
import type { Purpose, Role } from "./ports.ts";

declare const verified: unique symbol;

/** Certified attributes of a gateway (AMSP-103). */
export interface CertifiedGateway {
  /** The gateway's entry in PATH and ORIGIN. */
  readonly uri: GatewayUri;
  readonly level: 1 | 2;
  /** Path prefixes of the domain that the gateway may announce; empty for the whole domain. */
  readonly namespaces: readonly string[];
}

/** What a verified leaf certificate says. */
export interface PeerFacts {
  readonly spiffeId: AgentId;
  readonly domain: Domain;
  readonly role: Role;
  readonly purpose: Purpose;
  /** Present exactly when the role is gateway. */
  readonly gateway?: CertifiedGateway;
  readonly serial: Uint8Array;
  /** Key identifier of the issuing certificate, hex. */
  readonly issuerKeyId: string;
  readonly notBefore: UnixMs;
  readonly notAfter: UnixMs;
  /** SHA-256 of the leaf certificate, hex. */
  readonly fingerprint: string;
  /** SubjectPublicKeyInfo of the leaf, DER. */
  readonly spki: Uint8Array;
}

/** An identity whose chain was verified. Made by `TrustStore.verifyChain` and nothing else. */
export interface VerifiedPeer extends PeerFacts {
  readonly [verified]: true;
}

const made = new WeakSet<object>();

/** Internal to the verifier. */
export function makeVerifiedPeer(facts: PeerFacts): VerifiedPeer {
  const peer = Object.freeze({ ...facts }) as VerifiedPeer;
  made.add(peer);
  return peer;
}

/** True for an object that the verifier of this process made; a look-alike is not. */
export function isVerifiedPeer(value: unknown): value is VerifiedPeer {
  return typeof value === "object" && value !== null && made.has(value);
}
