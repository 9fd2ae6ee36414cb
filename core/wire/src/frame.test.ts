import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeFrame, encodeFrame, encodeMessageFrame, type FrameInit, wrapFrame } from "./frame.ts";
import { FrameKind, FrameScan, hex, scanFrame } from "./frame-scan.ts";
import { AttachHelloSchema } from "./gen/causeway/aap/v1/aap_pb.js";
import { FrameSchema, RoutingHeaderSchema } from "./gen/causeway/agp/v1/agp_pb.js";

const bytes = (...n: number[]): Uint8Array => Uint8Array.from(n);
const id16 = Uint8Array.from({ length: 16 }, (_, i) => i);
const header = {
  version: 1,
  targetKind: 1,
  target: "spiffe://b.example/y",
  source: "spiffe://a.example/x/@1",
  messageId: id16,
  hopTtl: 16,
  expiresUnixMs: 1_700_000_000_000n,
  securityContextId: bytes(9, 9),
  trafficClass: 1,
  deliveryMode: 2,
  traceContext: "00-1-2-01",
  flags: 1,
};
const error = { code: "CAUSEWAY_TIMEOUT", message: "m", retryable: true, retryAfterMs: 5, details: { limit: "x" } };
const record = { body: bytes(1), agentSignature: { chain: [bytes(2)], value: bytes(3) } };

/** Every frame type, with the bytes that it has had since version 1. These bytes are API: they never change. */
const golden: Record<Exclude<keyof typeof FrameKind, "none">, readonly [FrameInit, string]> = {
  message: [
    { case: "message", value: { header, payload: bytes(1, 2) } },
    "0a6b0a65080110011a147370696666653a2f2f622e6578616d706c652f7922177370696666653a2f2f612e6578616d706c652f782f40312a10000102030405060708090a0b0c0d0e0f3010390068e5cf8b01000042020909480150025a0930302d312d322d3031600112020102",
  ],
  control: [
    { case: "control", value: { header, requestId: id16, body: { case: "keyPackageFetch", value: { suite: 1 } } } },
    "127d0a65080110011a147370696666653a2f2f622e6578616d706c652f7922177370696666653a2f2f612e6578616d706c652f782f40312a10000102030405060708090a0b0c0d0e0f3010390068e5cf8b01000042020909480150025a0930302d312d322d303160011210000102030405060708090a0b0c0d0e0f22020801",
  ],
  attachHello: [
    {
      case: "attachHello",
      value: {
        agentId: "spiffe://a.example/x",
        instance: "1",
        nonce: bytes(7),
        features: ["agp/1"],
        model: 1,
        attachmentSequence: 3n,
        advertise: true,
      },
    },
    "1a300a147370696666653a2f2f612e6578616d706c652f781201311a010722056167702f3128013103000000000000003801",
  ],
  attachChallenge: [
    { case: "attachChallenge", value: { nonce: bytes(8), gatewayId: "g", gatewayUri: "u", features: ["agp/1"] } },
    "22100a01081201671a017522056167702f31",
  ],
  attachProof: [{ case: "attachProof", value: { signature: bytes(5) } }, "2a030a0105"],
  attachLease: [
    {
      case: "attachLease",
      value: {
        leaseId: bytes(1),
        lifetimeMs: 300_000n,
        heartbeatIntervalMs: 30_000n,
        model: 2,
        features: ["agp/1"],
        gatewayUnixMs: 1n,
        attachmentSequence: 3n,
        signature: bytes(4),
      },
    },
    "32290a010110e0a71218b0ea0120022a056167702f31310100000000000000390300000000000000420104",
  ],
  heartbeat: [{ case: "heartbeat", value: { leaseId: bytes(1), sequence: 2n, condition: 1 } }, "3a070a010110021801"],
  heartbeatAck: [
    { case: "heartbeatAck", value: { sequence: 2n, gatewayUnixMs: 1n, lifetimeMs: 300_000n } },
    "420f080211010000000000000018e0a712",
  ],
  sessionEnd: [
    { case: "sessionEnd", value: { leaseId: bytes(1), reason: "done", error } },
    "4a300a01011204646f6e651a250a1043415553455741595f54494d454f555412016d180120052a0a0a056c696d6974120178",
  ],
  advertise: [
    { case: "advertise", value: { request: 1n, record, receipt: { receipt: bytes(1) }, withdraw: true } },
    "52160801120b0a010112060a01021201031a030a01012001",
  ],
  advertiseResult: [
    { case: "advertiseResult", value: { request: 1n, epoch: 2n, sequence: 3n, error } },
    "5a2d08011002180322250a1043415553455741595f54494d454f555412016d180120052a0a0a056c696d6974120178",
  ],
  subscribe: [
    { case: "subscribe", value: { request: 1n, topic: "a.example/x/*" } },
    "62110801120d612e6578616d706c652f782f2a",
  ],
  unsubscribe: [
    { case: "unsubscribe", value: { request: 1n, topic: "a.example/x/*" } },
    "6a110801120d612e6578616d706c652f782f2a",
  ],
  subscriptionResult: [
    { case: "subscriptionResult", value: { request: 1n, error } },
    "7229080112250a1043415553455741595f54494d454f555412016d180120052a0a0a056c696d6974120178",
  ],
  credit: [{ case: "credit", value: { stream: 1n, bytes: 2, messages: 3 } }, "7a06080110021803"],
  drain: [{ case: "drain", value: { deadlineUnixMs: 1n, reason: "r" } }, "82010c090100000000000000120172"],
  error: [
    { case: "error", value: { error, fatal: true, request: 4n } },
    "8a012b0a250a1043415553455741595f54494d454f555412016d180120052a0a0a056c696d697412017810011804",
  ],
  event: [
    { case: "event", value: { type: "peer.up", atUnixMs: 1n, subject: "s", cause: "c" } },
    "9201180a07706565722e75701101000000000000001a0173220163",
  ],
  peerOpen: [
    { case: "peerOpen", value: { gatewayUri: "u", level: 1, features: ["agp/1"] } },
    "9a010c0a017510011a056167702f31",
  ],
  peerAccept: [
    { case: "peerAccept", value: { gatewayUri: "u", level: 2, features: ["agp/1"] } },
    "a2010c0a017510021a056167702f31",
  ],
  topicInterest: [
    { case: "topicInterest", value: { origin: "o", epoch: 1n, sequence: 2n, path: ["p"], topics: ["a.example/t"] } },
    "aa01170a016f100118022201702a0b612e6578616d706c652f74",
  ],
  topicCommand: [
    {
      case: "topicCommand",
      value: {
        request: 1n,
        command: {
          case: "create",
          value: { topic: "t", policy: { publishers: ["p"], subscribers: ["s"], idleExpiryMs: 9n } },
        },
      },
    },
    "b201110801120d0a017412080a01701201731809",
  ],
  topicResult: [
    { case: "topicResult", value: { request: 1n, topics: [{ topic: "t", owner: "o", createdUnixMs: 1n }], error } },
    "ba013a0801120f0a017412016f2101000000000000001a250a1043415553455741595f54494d454f555412016d180120052a0a0a056c696d6974120178",
  ],
  keyPackageUpload: [
    { case: "keyPackageUpload", value: { request: 1n, keyPackages: [bytes(1), bytes(2)], lastResort: bytes(3) } },
    "c2010b08011201011201021a0103",
  ],
  keyPackageUploadResult: [
    { case: "keyPackageUploadResult", value: { request: 1n, stored: 2, error } },
    "ca012b080110021a250a1043415553455741595f54494d454f555412016d180120052a0a0a056c696d6974120178",
  ],
  streamOpen: [
    { case: "streamOpen", value: { stream: 1n, header } },
    "d2016908011265080110011a147370696666653a2f2f622e6578616d706c652f7922177370696666653a2f2f612e6578616d706c652f782f40312a10000102030405060708090a0b0c0d0e0f3010390068e5cf8b01000042020909480150025a0930302d312d322d30316001",
  ],
  streamData: [{ case: "streamData", value: { stream: 1n, payload: bytes(1) } }, "da01050801120101"],
  streamHalfClose: [{ case: "streamHalfClose", value: { stream: 1n } }, "e201020801"],
  streamReset: [
    { case: "streamReset", value: { stream: 1n, error } },
    "ea0129080112250a1043415553455741595f54494d454f555412016d180120052a0a0a056c696d6974120178",
  ],
  mailboxAck: [
    { case: "mailboxAck", value: { entries: [{ source: "s", messageIds: [bytes(1, 2)] }] } },
    "f201090a070a017312020102",
  ],
  eventWatch: [{ case: "eventWatch", value: { request: 1n, types: ["peer."] } }, "fa010908011205706565722e"],
  directHello: [
    { case: "directHello", value: { source: "s", target: "t", withoutGateway: true } },
    "8202080a01731201741801",
  ],
};

describe("golden bytes of every frame type [AGP-57]", () => {
  for (const [name, [init, expected]] of Object.entries(golden)) {
    test(name, () => {
      const encoded = encodeFrame(init);
      expect(hex(encoded)).toBe(expected);
      const scan = new FrameScan();
      expect(scanFrame(encoded, 0, encoded.length, scan)).toBeUndefined();
      expect(scan.kind).toBe(FrameKind[name as keyof typeof FrameKind]);
      const decoded = decodeFrame(encoded);
      expect(decoded.case).toBe(name);
      expect(encodeFrame(decoded as FrameInit)).toEqual(encoded);
    });
  }
});

test("the fast encoder writes what protobuf writes", () => {
  const payload = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff);
  expect(encodeMessageFrame(header, payload)).toEqual(encodeFrame({ case: "message", value: { header, payload } }));
});

test("a header without version and TTL gets the defaults 1 and 16", () => {
  const frame = encodeMessageFrame(
    { targetKind: 1, target: header.target, source: header.source, messageId: id16 },
    bytes(1),
  );
  const decoded = decodeFrame(frame);
  expect(decoded.case === "message" && decoded.value.header).toMatchObject({ version: 1, hopTtl: 16 });
});

test("wrapFrame keeps the body byte for byte", () => {
  const body = toBinary(AttachHelloSchema, create(AttachHelloSchema, { agentId: "x", nonce: new Uint8Array(200) }));
  const frame = wrapFrame(FrameKind.attachHello, body);
  const scan = new FrameScan();
  expect(scanFrame(frame, 0, frame.length, scan)).toBeUndefined();
  expect(scan.body()).toEqual(body);
});

test("decodeFrame refuses any bytes with a typed error or returns a body", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      try {
        expect(decodeFrame(noise).case).toBeDefined();
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: expect.stringMatching(/^CAUSEWAY_(FRAME|HEADER|FORWARDING)_/) });
      }
    }),
    { numRuns: 500 },
  );
});

test("decodeFrame refuses every damaged valid frame with a typed error or reads it", () => {
  const samples = Object.values(golden).map(([init]) => encodeFrame(init));
  fc.assert(
    fc.property(fc.constantFrom(...samples), fc.nat(), fc.nat(255), fc.nat(3), (sample, at, value, cut) => {
      const damaged = sample.slice(0, sample.length - cut);
      if (damaged.length > 0) damaged[at % damaged.length] = value;
      try {
        expect(decodeFrame(damaged).case).toBeDefined();
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: expect.stringMatching(/^CAUSEWAY_(FRAME|HEADER|FORWARDING)_/) });
      }
    }),
    { numRuns: 2_000 },
  );
});

test("every member of Frame.body has a kind", () => {
  const kinds = Object.entries(FrameKind).filter(([name]) => name !== "none");
  expect(Object.fromEntries(kinds)).toEqual(
    Object.fromEntries(FrameSchema.fields.filter((f) => f.oneof).map((f) => [f.localName, f.number])),
  );
});

test("the routing header has these fields and none that application data feeds [AAP-68]", () => {
  expect(RoutingHeaderSchema.fields.map((f) => `${f.number} ${f.name}`)).toEqual([
    "1 version",
    "2 target_kind",
    "3 target",
    "4 source",
    "5 message_id",
    "6 hop_ttl",
    "7 expires_unix_ms",
    "8 security_context_id",
    "9 traffic_class",
    "10 delivery_mode",
    "11 trace_context",
    "12 flags",
  ]);
});
