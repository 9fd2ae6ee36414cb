/**
 * GW-DISCOVER and GW-OFFER (AAP-37 to AAP-41, AAP-48, AAP-58 to AAP-61): making, opening and choosing offers. Pure. An
 * offer is signed, and still no more than a hint: attachment authenticates again.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  asUnixMs,
  type Domain,
  defaults,
  domainOf,
  type ErrorFacts,
  type GatewayUri,
  parseAgentId,
  parseGatewayUri,
  refuse,
  type SpiffeId,
  type UnixMs,
} from "@causeway/core-base";
import {
  type CryptoPort,
  labelled,
  type PeerVerifier,
  type Signer,
  signBytes,
  verifySignature,
} from "@causeway/core-identity";
import { aap, hex } from "@causeway/core-wire";
import type { GatewayCandidate } from "./effects.ts";
import { isFeatureList, missingFeatures } from "./features.ts";

/** Bytes of the nonce in GW-DISCOVER. */
export const discoverNonceBytes = 16;
/** How far ahead of ours a gateway's clock may be before its offers are refused. */
export const offerSkewMsMax = 60_000;

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
  /** From this load on the gateway stays silent; 101: never. */
  readonly silentAtLoad: number;
}

/**
 * The answer to GW-DISCOVER; undefined to stay silent, because of load or a missing feature (AAP-49). Throws
 * `CAUSEWAY_FRAME_MALFORMED` or `CAUSEWAY_NAME_INVALID` for a bad request.
 */
export function makeOffer(
  request: aap.DiscoverRequest,
  facts: OfferFacts,
  now: UnixMs,
  signer: Signer,
): aap.DiscoverResponse | undefined {
  parseAgentId(request.agentId);
  return offerFor(request, facts, now, signer);
}

/** As `makeOffer`, for whoever asks. */
export function offerFor(
  request: Pick<aap.DiscoverRequest, "nonce" | "requiredFeatures">,
  facts: OfferFacts,
  now: UnixMs,
  signer: Signer,
): aap.DiscoverResponse | undefined {
  if (request.nonce.length !== discoverNonceBytes) {
    throw refuse(
      "CAUSEWAY_FRAME_MALFORMED",
      `expected a nonce of ${discoverNonceBytes} bytes, got ${request.nonce.length}`,
    );
  }
  if (!isFeatureList(request.requiredFeatures))
    throw refuse("CAUSEWAY_FRAME_MALFORMED", "expected at most 64 features of the form name/version");
  if (facts.load >= facts.silentAtLoad) return undefined;
  if (missingFeatures(facts.features, request.requiredFeatures).length > 0) return undefined;
  const offer = toBinary(
    aap.GatewayOfferSchema,
    create(aap.GatewayOfferSchema, {
      gatewayId: facts.gatewayId,
      gatewayUri: facts.gatewayUri,
      endpoint: facts.endpoint,
      features: [...facts.features],
      nonce: request.nonce,
      expiresUnixMs: BigInt(now + defaults.offerValidityMs),
      load: Math.min(100, Math.max(0, Math.round(facts.load))),
    }),
  );
  return create(aap.DiscoverResponseSchema, { offer, signature: signBytes(signer, labelled("offer", offer)) });
}

export interface OpenOfferOptions {
  /** Of the request. */
  readonly nonce: Uint8Array;
  readonly trust: PeerVerifier;
  readonly crypto: CryptoPort;
  readonly now: UnixMs;
  /** From request to answer. */
  readonly delayMs: number;
  readonly method: GatewayCandidate["method"];
}

/**
 * Verifies an answer. Throws `CAUSEWAY_IDENTITY_*` when the signer is not the gateway that the offer names,
 * `CAUSEWAY_ATTACHMENT_PROOF_INVALID` for a wrong nonce or time, `CAUSEWAY_FRAME_MALFORMED` for a missing field.
 */
export function openOffer(response: aap.DiscoverResponse, options: OpenOfferOptions): VerifiedOffer {
  const { trust, crypto, now, nonce } = options;
  const peer = verifySignature(trust, crypto, response.signature, labelled("offer", response.offer), {
    now,
    purpose: "tls",
    roles: ["gateway"],
  });
  const offer = decodeOffer(response.offer);
  if (offer.gatewayId !== peer.spiffeId || offer.gatewayUri !== peer.gateway?.uri) {
    throw refuse(
      "CAUSEWAY_IDENTITY_MISMATCH",
      `expected an offer of ${peer.spiffeId}, which signed it, got one that names ${JSON.stringify(offer.gatewayId.slice(0, 100))}`,
    );
  }
  if (hex(offer.nonce) !== hex(nonce))
    throw refuse("CAUSEWAY_ATTACHMENT_PROOF_INVALID", "expected the nonce of this request in the offer, got another");
  const expires = Number(offer.expiresUnixMs);
  if (expires <= now || expires > now + defaults.offerValidityMs + offerSkewMsMax) {
    throw refuse(
      "CAUSEWAY_ATTACHMENT_PROOF_INVALID",
      "expected an offer that is valid now; ask again, or check the clock",
    );
  }
  return {
    endpoint: offer.endpoint,
    method: options.method,
    gatewayId: peer.spiffeId,
    gatewayUri: parseGatewayUri(offer.gatewayUri),
    features: offer.features,
    load: Math.min(100, offer.load),
    delayMs: options.delayMs,
    nonce: offer.nonce,
    expiresUnixMs: asUnixMs(expires),
  } as unknown as VerifiedOffer;
}

function decodeOffer(bytes: Uint8Array): aap.GatewayOffer {
  let offer: aap.GatewayOffer;
  try {
    offer = fromBinary(aap.GatewayOfferSchema, bytes);
  } catch (cause) {
    throw refuse("CAUSEWAY_FRAME_MALFORMED", "expected a GatewayOffer, got bytes that do not decode", { cause });
  }
  if (!/^https:\/\/[^\s/]+$/.test(offer.endpoint) || offer.endpoint.length > 512) {
    throw refuse(
      "CAUSEWAY_FRAME_MALFORMED",
      `expected an endpoint like https://host:port in the offer, got ${JSON.stringify(offer.endpoint.slice(0, 100))}`,
    );
  }
  if (!isFeatureList(offer.features))
    throw refuse("CAUSEWAY_FRAME_MALFORMED", "expected at most 64 features of the form name/version");
  return offer;
}

/** Local choice (AAP-61). The first criterion that tells two candidates apart decides. */
export interface OfferPolicy {
  /** Candidates that are known to lack one of these are refused. */
  readonly requiredFeatures?: readonly string[];
  readonly preferDomain?: Domain;
  /** Default: domain, load, delay. */
  readonly order?: readonly OfferCriterion[];
}

export type OfferCriterion = "domain" | "delay" | "load";

/** Candidates in the order in which they are to be tried, and why others are left out. */
export interface OfferChoice {
  readonly ranked: readonly { readonly candidate: GatewayCandidate; readonly reason: string }[];
  readonly refused: readonly { readonly candidate: GatewayCandidate; readonly error: ErrorFacts }[];
}

/** Orders candidates by policy; equal ones stay in the order in which they came. Each endpoint occurs once. */
export function chooseOffers(candidates: readonly GatewayCandidate[], policy: OfferPolicy): OfferChoice {
  const order = policy.order ?? ["domain", "load", "delay"];
  const refused: { candidate: GatewayCandidate; error: ErrorFacts }[] = [];
  const fit: GatewayCandidate[] = [];
  for (const candidate of candidates) {
    // Of a gateway that made no offer the features are learned, and judged, in the handshake.
    const missing =
      candidate.gatewayId === undefined ? [] : missingFeatures(candidate.features, policy.requiredFeatures ?? []);
    if (missing.length > 0) {
      refused.push({
        candidate,
        error: {
          code: "CAUSEWAY_ATTACHMENT_FEATURE_MISSING",
          message: `${candidate.endpoint} lacks ${missing.join(", ")}`,
        },
      });
    } else {
      fit.push(candidate);
    }
  }
  const sorted = [...fit].sort((a, b) => compare(a, b, order, policy)?.sign ?? 0);
  const unique = sorted.filter((c, i) => sorted.findIndex((other) => other.endpoint === c.endpoint) === i);
  return {
    refused,
    ranked: unique.map((candidate, i) => {
      const next = unique[i + 1];
      const decided = next && compare(candidate, next, order, policy)?.criterion;
      return { candidate, reason: decided ? reasonTexts[decided] : next ? "it came first" : "no other is left" };
    }),
  };
}

function compare(
  a: GatewayCandidate,
  b: GatewayCandidate,
  order: readonly OfferCriterion[],
  policy: OfferPolicy,
): { readonly sign: number; readonly criterion: OfferCriterion } | undefined {
  for (const criterion of order) {
    const difference = cost(a, criterion, policy) - cost(b, criterion, policy);
    if (difference !== 0) return { sign: difference, criterion };
  }
  return undefined;
}

function cost(candidate: GatewayCandidate, criterion: OfferCriterion, policy: OfferPolicy): number {
  switch (criterion) {
    case "load":
      return candidate.load;
    case "delay":
      return candidate.delayMs;
    case "domain":
      return candidate.gatewayId !== undefined && domainOf(candidate.gatewayId) === policy.preferDomain ? 0 : 1;
  }
}

const reasonTexts = {
  domain: "it belongs to the preferred domain",
  load: "it has the lowest load",
  delay: "it answered fastest",
} as const satisfies Record<OfferCriterion, string>;
