/**
 * GW-DISCOVER and GW-OFFER (AAP-37 to AAP-41, AAP-48, AAP-58 to AAP-61): making, opening and choosing offers. Pure. An
 * offer is signed, and still no more than a hint: attachment authenticates again.
 */
import type { Domain, ErrorFacts, GatewayUri, SpiffeId, UnixMs } from "@causeway/core-base";
import type { CryptoPort, Signer, TrustStore } from "@causeway/core-identity";
import type { aap } from "@causeway/core-wire";
import type { GatewayCandidate } from "./effects.ts";

declare const verified: unique symbol;
/** An offer whose signature, nonce, expiry and fields were checked. */
export interface VerifiedOffer extends GatewayCandidate {
  readonly nonce: Uint8Array;
  readonly expiresUnixMs: UnixMs;
  readonly [verified]: true;
}

export interface OfferFacts {
  readonly gatewayId: SpiffeId;
  readonly gatewayUri: GatewayUri;
  readonly endpoint: string;
  readonly features: readonly string[];
  /** 0 to 100. */
  readonly load: number;
  /** At this load the gateway stays silent. Default 95. */
  readonly silentAtLoad?: number;
}

/** The answer to GW-DISCOVER; undefined to stay silent (AAP-49). Throws `CAUSEWAY_FRAME_MALFORMED` for a bad request. */
export function makeOffer(
  _request: aap.DiscoverRequest,
  _facts: OfferFacts,
  _now: UnixMs,
  _signer: Signer,
): aap.DiscoverResponse | undefined {
  throw new Error("not yet");
}

/** Verifies an answer. Throws `CAUSEWAY_IDENTITY_*`, `CAUSEWAY_ATTACHMENT_PROOF_INVALID` or `CAUSEWAY_FRAME_MALFORMED`. */
export function openOffer(
  _response: aap.DiscoverResponse,
  _options: {
    readonly nonce: Uint8Array;
    readonly trust: TrustStore;
    readonly crypto: CryptoPort;
    readonly now: UnixMs;
    readonly delayMs: number;
    readonly method: GatewayCandidate["method"];
  },
): VerifiedOffer {
  throw new Error("not yet");
}

/** Local choice (AAP-61). The first criterion that tells two candidates apart decides. */
export interface OfferPolicy {
  /** Candidates without one of these are refused. */
  readonly requiredFeatures?: readonly string[];
  readonly preferDomain?: Domain;
  /** Default: domain, load, delay. */
  readonly order?: readonly ("domain" | "delay" | "load")[];
}

/** Candidates in the order in which they are to be tried, and why others are left out. */
export interface OfferChoice {
  readonly ranked: readonly { readonly candidate: GatewayCandidate; readonly reason: string }[];
  readonly refused: readonly { readonly candidate: GatewayCandidate; readonly error: ErrorFacts }[];
}

export function chooseOffers(_candidates: readonly GatewayCandidate[], _policy: OfferPolicy): OfferChoice {
  throw new Error("not yet");
}
