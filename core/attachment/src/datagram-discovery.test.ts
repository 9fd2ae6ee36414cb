/** GW-DISCOVER in datagrams: nobody is named, nothing is kept for strangers, no answer is larger than its request. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { AgentId } from "@causeway/core-base";
import { aap, hex } from "@causeway/core-wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  DatagramResponder,
  type DatagramResponderOptions,
  datagramBytesMax,
  datagramBytesMin,
  decodeDatagramAnswer,
  encodeDatagramDiscover,
} from "./datagram-discovery.ts";
import { at, gatewayIdentity } from "./fixtures/handshake.ts";
import { countingRandom, testCrypto } from "./fixtures/identities.ts";
import { offerFor } from "./offers.ts";

const agentId = "spiffe://blue.example/a" as AgentId;
const nonce = new Uint8Array(16).fill(5);
const salt = new Uint8Array(16).fill(6);
const source = "192.0.2.1:5000";
const ask = (more: { cookie?: Uint8Array; nonce?: Uint8Array } = {}): Uint8Array =>
  encodeDatagramDiscover(testCrypto, { agentId, salt, nonce, ...more });
const responder = (more: Partial<DatagramResponderOptions> = {}): DatagramResponder =>
  new DatagramResponder({
    crypto: testCrypto,
    random: countingRandom(),
    offer: (request, now) =>
      offerFor(
        request,
        {
          gatewayId: gatewayIdentity.id,
          gatewayUri: gatewayIdentity.peer.gateway?.uri ?? ("" as never),
          endpoint: "https://gw1:1",
          features: ["agp/1", "mls/1"],
          load: 0,
          silentAtLoad: 95,
        },
        now.unix,
        gatewayIdentity.signer,
      ),
    ...more,
  });
const cookieOf = (answer: Uint8Array | undefined): Uint8Array => {
  const found = answer && decodeDatagramAnswer(answer, nonce);
  if (found?.case !== "cookie") throw new Error("expected a cookie");
  return found.value;
};

test("a stranger gets a cookie, and who comes back with it from the same address a signed offer [AAP-37]", () => {
  const gateway = responder();
  const cookie = cookieOf(gateway.handle(at(0), source, ask()));
  const answer = gateway.handle(at(1), source, ask({ cookie }));
  const offer = answer && decodeDatagramAnswer(answer, nonce);
  expect(offer?.case).toBe("offer");
  if (offer?.case !== "offer") return;
  expect(fromBinary(aap.GatewayOfferSchema, offer.value.offer)).toMatchObject({ gatewayId: gatewayIdentity.id, nonce });
  // The same cookie from elsewhere, or too late, is worth nothing.
  expect(hex(cookieOf(gateway.handle(at(2), "192.0.2.2:5000", ask({ cookie }))))).not.toBe(hex(cookie));
  cookieOf(gateway.handle(at(200_000), source, ask({ cookie })));
  expect(gateway.counts).toEqual({ malformed: 0, cookies: 3, offers: 1, silent: 0 });
});

test("the request names nobody: other salts, other hashes; the Agent ID is not in it [AAP-48]", () => {
  const one = fromBinary(aap.DatagramDiscoverSchema, ask());
  const other = fromBinary(
    aap.DatagramDiscoverSchema,
    encodeDatagramDiscover(testCrypto, { agentId, salt: new Uint8Array(16).fill(7), nonce }),
  );
  expect(hex(one.agentHash)).not.toBe(hex(other.agentHash));
  expect(Buffer.from(ask()).includes("blue.example")).toBe(false);
});

test("10,000 spoofed requests a second cost no offer and no memory, and every answer is smaller than what asked [AAP-102]", () => {
  let offers = 0;
  const gateway = responder({
    offer: () => {
      offers++;
      return undefined;
    },
  });
  const request = ask();
  for (let i = 0; i < 10_000; i++) {
    const answer = gateway.handle(at(i / 10), `198.51.${i >> 8}.${i & 255}:${1_024 + i}`, request);
    expect(answer?.length ?? 0).toBeLessThan(request.length / 20);
  }
  expect([offers, gateway.counts.cookies]).toEqual([0, 10_000]);
});

test("one address gets so many offers a minute and all together so many a second; the rest is silence [AAP-102]", () => {
  const gateway = responder({ offersPerSourceMax: 3, offersPerSecondMax: 5 });
  const from = (address: string, ms: number): Uint8Array | undefined => {
    const cookie = cookieOf(gateway.handle(at(ms), address, ask()));
    return gateway.handle(at(ms), address, ask({ cookie }));
  };
  const answered = (address: string, ms: number): boolean => from(address, ms) !== undefined;
  // Other ports of one address are the same source.
  expect([1, 2, 3, 4].map((port) => answered(`192.0.2.1:${port}`, 0))).toEqual([true, true, true, false]);
  expect([1, 2, 3].map((host) => answered(`192.0.2.${host + 10}:1`, 1))).toEqual([true, true, false]);
  expect(answered("192.0.2.99:1", 1_000)).toBe(true);
  expect(answered("192.0.2.1:1", 61_000)).toBe(true);
  const largest = responder();
  const cookie = cookieOf(largest.handle(at(0), source, ask()));
  expect(largest.handle(at(0), source, ask({ cookie }))?.length).toBeLessThanOrEqual(datagramBytesMin);
});

test("what is malformed is dropped without an answer, and counted [AAP-37]", () => {
  const gateway = responder();
  const short = create(aap.DatagramDiscoverSchema, { nonce, salt, agentHash: new Uint8Array(32) });
  const bent = fromBinary(aap.DatagramDiscoverSchema, ask());
  bent.nonce = new Uint8Array(15);
  bent.padding = new Uint8Array(bent.padding.length + 1);
  const bad = [
    toBinary(aap.DatagramDiscoverSchema, short),
    toBinary(aap.DatagramDiscoverSchema, bent),
    new Uint8Array(datagramBytesMin).fill(0xff),
    new Uint8Array(datagramBytesMax + 1),
    new Uint8Array(0),
  ];
  for (const bytes of bad) expect(gateway.handle(at(0), source, bytes)).toBeUndefined();
  expect(gateway.counts).toEqual({ malformed: bad.length, cookies: 0, offers: 0, silent: 0 });
});

test("any bytes from anywhere are handled without an error, and never answered at length", () => {
  const gateway = responder();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: datagramBytesMax }), fc.string(), (bytes, from) => {
      expect(gateway.handle(at(0), from, bytes)?.length ?? 0).toBeLessThanOrEqual(bytes.length);
      expect(decodeDatagramAnswer(bytes, nonce)).toBeUndefined();
    }),
  );
});
