/** The two channel bindings: what ties proof and lease to one TLS connection (ADR 30). */
import { fromBinary } from "@bufbuild/protobuf";
import { verifyByPeer } from "@causeway/core-identity";
import { aap, asLinkId } from "@causeway/core-wire";
import { expect, test } from "vitest";
import {
  at,
  binding,
  bodyOf,
  gateway,
  gatewayIdentity,
  hello,
  proofOf,
  refusalOf,
  sent,
} from "./fixtures/handshake.ts";
import { identity, testCrypto } from "./fixtures/identities.ts";
import type { GatewayAttachments } from "./gateway.ts";
import { leaseMessage } from "./transcript.ts";

const self = identity("blue.example/a", "agent");
const endPoint = new Uint8Array(32).fill(9);
const { TLS_EXPORTER, TLS_SERVER_END_POINT } = aap.ChannelBinding;

/** A handshake whose hello names `named` and whose proof is over `proven`. */
function run(machine: GatewayAttachments, named: aap.ChannelBinding, proven: Uint8Array, shown?: Uint8Array) {
  const link = asLinkId(1);
  const helloBytes = hello(self, { channelBinding: named });
  machine.handleLinkUp(at(0), link, self.peer, binding, () => shown);
  machine.handleHello(at(0), link, helloBytes);
  const first = machine.drain();
  const frame = sent(first, "attachChallenge");
  if (frame === undefined) return { effects: first };
  const challenge = bodyOf(frame);
  const proof = proofOf(self, helloBytes, challenge, Uint8Array.from(proven));
  machine.handleProof(at(0), link, proof);
  return { effects: machine.drain(), transcript: { hello: helloBytes, challenge, proof: proof.signature } };
}

test("an agent whose TLS exports no keying material binds to the gateway's certificate; so does its lease [AAP-62]", () => {
  const { effects, transcript } = run(gateway(), TLS_SERVER_END_POINT, endPoint, endPoint);
  expect(effects.some((effect) => effect.kind === "install")).toBe(true);
  const lease = bodyOf(sent(effects, "attachLease") ?? new Uint8Array());
  const { signature } = fromBinary(aap.AttachmentLeaseSchema, lease);
  if (transcript === undefined) throw new Error("no challenge came");
  const signed = (channel: Uint8Array) => leaseMessage(testCrypto, channel, transcript, lease);
  verifyByPeer(testCrypto, gatewayIdentity.peer, signed(endPoint), signature);
  expect(() => verifyByPeer(testCrypto, gatewayIdentity.peer, signed(binding), signature)).toThrow();
});

test("one kind does not pass for the other, and another certificate's hash is refused", () => {
  for (const [named, proven] of [
    [TLS_SERVER_END_POINT, binding],
    [TLS_SERVER_END_POINT, new Uint8Array(32)],
    [TLS_EXPORTER, endPoint],
  ] as const) {
    const { effects } = run(gateway(), named, proven, endPoint);
    expect([refusalOf(effects), effects.some((effect) => effect.kind === "install")]).toEqual([
      "CAUSEWAY_ATTACHMENT_PROOF_INVALID",
      false,
    ]);
  }
});

test("a kind that the gateway does not take, or does not know, is refused before a challenge", () => {
  const strict = gateway({ channelBindings: ["tls-exporter"] });
  expect(refusalOf(run(strict, TLS_SERVER_END_POINT, endPoint, endPoint).effects)).toBe("CAUSEWAY_UNSUPPORTED");
  expect(refusalOf(run(gateway(), TLS_SERVER_END_POINT, endPoint, undefined).effects)).toBe("CAUSEWAY_UNSUPPORTED");
  expect(refusalOf(run(gateway(), 9 as aap.ChannelBinding, binding, endPoint).effects)).toBe("CAUSEWAY_UNSUPPORTED");
  expect(refusalOf(run(gateway(), TLS_EXPORTER, binding).effects)).toBeUndefined();
});
