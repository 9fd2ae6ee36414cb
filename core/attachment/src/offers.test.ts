import { create, toBinary } from "@bufbuild/protobuf";
import { asUnixMs, type CausewayError, type Domain, type UnixMs } from "@causeway/core-base";
import { labelled, type PeerVerifier, signBytes } from "@causeway/core-identity";
import { aap } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { GatewayCandidate } from "./effects.ts";
import { identity, testCrypto } from "./fixtures/identities.ts";
import { chooseOffers, makeOffer, type OfferFacts, openOffer } from "./offers.ts";

const gw = identity("blue.example/gateway/gw1", "gateway");
const rogue = identity("blue.example/gateway/rogue", "gateway");
const now = asUnixMs(1_700_000_000_000);
const nonce = new Uint8Array(16).fill(4);
const facts: OfferFacts = {
  gatewayId: gw.id,
  gatewayUri: gw.peer.gateway?.uri ?? ("" as never),
  endpoint: "https://gw1.blue.example:7400",
  features: ["agp/1", "mls/1"],
  load: 10,
  silentAtLoad: 95,
};
const request = create(aap.DiscoverRequestSchema, { agentId: "spiffe://blue.example/a", nonce });
/** Accepts the chains of the two test gateways; the real verifier is tested in core/identity. */
const trust: PeerVerifier = {
  roots: () => [],
  verifyChain: (chain) => {
    const found = [gw, rogue].find((each) => each.signer.spki.join() === chain[0]?.join());
    if (found === undefined)
      throw Object.assign(new Error("untrusted"), { code: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED" });
    return found.peer;
  },
};
const open = (response: aap.DiscoverResponse, at: UnixMs = now, expected = nonce) =>
  openOffer(response, { nonce: expected, trust, crypto: testCrypto, now: at, delayMs: 12, method: "anycast" });
const codeOf = (work: () => unknown): string | undefined => {
  try {
    work();
    return undefined;
  } catch (thrown) {
    return (thrown as CausewayError).code;
  }
};
const offerOf = (more: Partial<aap.GatewayOffer>, signer = gw.signer): aap.DiscoverResponse => {
  const { $typeName: _, ...fields } = {
    gatewayId: gw.id as string,
    gatewayUri: facts.gatewayUri as string,
    endpoint: facts.endpoint,
    features: [...facts.features],
    nonce,
    expiresUnixMs: BigInt(now + 1_000),
    ...more,
  } as Partial<aap.GatewayOffer>;
  const offer = toBinary(aap.GatewayOfferSchema, create(aap.GatewayOfferSchema, fields));
  return create(aap.DiscoverResponseSchema, { offer, signature: signBytes(signer, labelled("offer", offer)) });
};

describe("offers", () => {
  test("hold the certified identifier [AAP-58], the endpoint and the features [AAP-60]", () => {
    const response = makeOffer(request, facts, now, gw.signer);
    expect(response && open(response)).toMatchObject({
      gatewayId: gw.peer.spiffeId,
      gatewayUri: gw.peer.gateway?.uri,
      endpoint: "https://gw1.blue.example:7400",
      features: ["agp/1", "mls/1"],
      load: 10,
      delayMs: 12,
      expiresUnixMs: now + 60_000,
    });
  });

  test("an offer signed by another gateway than it names is refused [AAP-58]", () => {
    expect(codeOf(() => open(offerOf({}, rogue.signer)))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
    expect(codeOf(() => open(offerOf({ gatewayUri: "https://other.example" })))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
  });

  test("a changed offer, and one without signature, is refused", () => {
    const response = offerOf({});
    response.offer[response.offer.length - 1] = (response.offer.at(-1) ?? 0) ^ 1;
    expect(codeOf(() => open(response))).toBe("CAUSEWAY_IDENTITY_SIGNATURE_INVALID");
    expect(codeOf(() => open(create(aap.DiscoverResponseSchema, { offer: offerOf({}).offer })))).toBe(
      "CAUSEWAY_IDENTITY_SIGNATURE_INVALID",
    );
  });

  test("the nonce is echoed; an offer with a wrong one is refused [AAP-48]", () => {
    const response = makeOffer(request, facts, now, gw.signer) ?? offerOf({});
    expect(open(response).nonce).toEqual(nonce);
    expect(codeOf(() => open(response, now, new Uint8Array(16)))).toBe("CAUSEWAY_ATTACHMENT_PROOF_INVALID");
  });

  test("an offer is good for 60 s, and not for ever", () => {
    const response = makeOffer(request, facts, now, gw.signer) ?? offerOf({});
    expect(codeOf(() => open(response, asUnixMs(now + 59_999)))).toBeUndefined();
    expect(codeOf(() => open(response, asUnixMs(now + 60_000)))).toBe("CAUSEWAY_ATTACHMENT_PROOF_INVALID");
    expect(codeOf(() => open(offerOf({ expiresUnixMs: BigInt(now + 600_000) })))).toBe(
      "CAUSEWAY_ATTACHMENT_PROOF_INVALID",
    );
  });

  test.each([
    "",
    "http://gw1.example:1",
    "https://",
    "https://gw1.example/path",
    "https://a b",
    `https://${"x".repeat(600)}`,
  ])("an endpoint that is none: %j", (endpoint) => {
    expect(codeOf(() => open(offerOf({ endpoint })))).toBe("CAUSEWAY_FRAME_MALFORMED");
  });

  test("a gateway under load, or without a needed feature, stays silent", () => {
    expect(makeOffer(request, { ...facts, load: 95 }, now, gw.signer)).toBeUndefined();
    expect(makeOffer(request, { ...facts, load: 60, silentAtLoad: 50 }, now, gw.signer)).toBeUndefined();
    expect(makeOffer({ ...request, requiredFeatures: ["calls/1"] }, facts, now, gw.signer)).toBeUndefined();
    expect(makeOffer({ ...request, requiredFeatures: ["mls/1"] }, facts, now, gw.signer)).toBeDefined();
  });

  test("a malformed request is refused", () => {
    expect(codeOf(() => makeOffer({ ...request, agentId: "x" }, facts, now, gw.signer))).toBe("CAUSEWAY_NAME_INVALID");
    expect(codeOf(() => makeOffer({ ...request, nonce: new Uint8Array(15) }, facts, now, gw.signer))).toBe(
      "CAUSEWAY_FRAME_MALFORMED",
    );
    expect(codeOf(() => makeOffer({ ...request, requiredFeatures: ["no version"] }, facts, now, gw.signer))).toBe(
      "CAUSEWAY_FRAME_MALFORMED",
    );
  });

  test("any bytes as offer: an offer or a code", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (offer) => {
        const code = codeOf(() =>
          open(
            create(aap.DiscoverResponseSchema, { offer, signature: signBytes(gw.signer, labelled("offer", offer)) }),
          ),
        );
        expect(code).toMatch(/^CAUSEWAY_/);
      }),
      { numRuns: 300 },
    );
  });
});

describe("choice", () => {
  const candidate = (name: string, more: Partial<GatewayCandidate> = {}): GatewayCandidate => ({
    endpoint: `https://${name}:1`,
    method: "anycast",
    gatewayId: identity(`${name}.example/gateway/g`, "gateway").id,
    features: ["agp/1", "mls/1"],
    load: 50,
    delayMs: 50,
    ...more,
  });
  const order = (policy: Parameters<typeof chooseOffers>[1], ...candidates: GatewayCandidate[]): unknown =>
    chooseOffers(candidates, policy).ranked.map((r) => [r.candidate.endpoint.slice(8, -2), r.reason]);

  test("the four policies: preferred domain, lowest delay, lowest load, required feature [AAP-61]", () => {
    const [a, b, c] = [
      candidate("a", { delayMs: 1, load: 90 }),
      candidate("b", { load: 1 }),
      candidate("c", { features: ["mls/1", "calls/1"], load: 99, delayMs: 99 }),
    ];
    expect(order({ preferDomain: "c.example" as Domain }, a, b, c)).toEqual([
      ["c", "it belongs to the preferred domain"],
      ["b", "it has the lowest load"],
      ["a", "no other is left"],
    ]);
    expect(order({ order: ["delay"] }, a, b, c)).toEqual([
      ["a", "it answered fastest"],
      ["b", "it answered fastest"],
      ["c", "no other is left"],
    ]);
    expect(order({ order: ["load"] }, a, b, c)).toEqual([
      ["b", "it has the lowest load"],
      ["a", "it has the lowest load"],
      ["c", "no other is left"],
    ]);
    const choice = chooseOffers([a, b, c], { requiredFeatures: ["calls/1"] });
    expect(choice.ranked.map((r) => r.candidate)).toEqual([c]);
    expect(choice.refused.map((r) => [r.candidate, r.error.code])).toEqual([
      [a, "CAUSEWAY_ATTACHMENT_FEATURE_MISSING"],
      [b, "CAUSEWAY_ATTACHMENT_FEATURE_MISSING"],
    ]);
  });

  test("equal ones stay in order; an endpoint is tried once; hints without offer are judged in the handshake", () => {
    const hint: GatewayCandidate = { endpoint: "https://h:1", method: "static", features: [], load: 50, delayMs: 50 };
    expect(
      order({ requiredFeatures: ["mls/1"], order: ["load"] }, candidate("a"), candidate("b"), candidate("a"), hint),
    ).toEqual([
      ["a", "it came first"],
      ["b", "it came first"],
      ["h", "no other is left"],
    ]);
  });
});
