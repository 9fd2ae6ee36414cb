/** Every decoder of the product that reads bytes of somebody else, with valid inputs to start from. */
import { generateKeyPairSync, sign } from "node:crypto";
import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { nodeCrypto } from "@causeway/adapter-keys";
import { asUnixMs, parseAgentId, parseDomain, parseGatewayUri, parseSpiffeId } from "@causeway/core-base";
import {
  createCsr,
  createRoot,
  encodeJoinToken,
  parseCsr,
  parseJoinToken,
  type SigningKey,
  TrustStore,
} from "@causeway/core-identity";
import {
  encodeOriginStatement,
  encodeReceipt,
  encodeRecordBody,
  parseAgentCard,
  parseOriginStatement,
  parseReceipt,
  parseRecordBody,
} from "@causeway/core-records";
import {
  aap,
  aca,
  addressCopy,
  agp,
  amsp,
  ars,
  checkMlsPayload,
  decodeFrame,
  encodeFrame,
  encodeGrpcMessage,
  encodeMessageFrame,
  FrameScan,
  FrameSplitter,
  gatewaysOf,
  record,
  scanFrame,
} from "@causeway/core-wire";
import {
  encodeH2Frame,
  encodeHeaders,
  encodeSettings,
  encodeWindowUpdate,
  FrameType,
  Setting,
} from "../../../adapters/h2/src/h2-frames.ts";
import { H2Reader } from "../../../adapters/h2/src/h2-reader.ts";
import { decodePacket, encodePacket } from "../../../sdk/agent/src/session/packets.ts";

/** One decoder. `run` may throw a CausewayError, or what `tolerates` admits, and nothing else. */
export interface FuzzTarget {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  run(bytes: Uint8Array): void;
  tolerates?(thrown: unknown): boolean;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const asText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const header = {
  version: 1,
  targetKind: agp.TargetKind.AGENT,
  target: "spiffe://green.example/travel/guide",
  source: "spiffe://blue.example/assistant/planner",
  messageId: new Uint8Array(16).fill(7),
  hopTtl: 16,
  expiresUnixMs: 1_800_000_000_000n,
  securityContextId: new Uint8Array(16).fill(9),
  trafficClass: agp.TrafficClass.INTERACTIVE,
  deliveryMode: agp.DeliveryMode.RELIABLE,
  flags: 1,
};

/** A private message and a welcome in the framing of RFC 9420, contents arbitrary. */
const opaque = (length: number): number[] => [length, ...Array.from({ length }, (_, i) => i)];
const privateMessage = Uint8Array.from([
  0,
  1,
  0,
  2,
  ...opaque(16),
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  5,
  1,
  0,
  ...opaque(28),
  ...opaque(40),
]);
const frames = [
  encodeMessageFrame(header, privateMessage),
  encodeFrame({
    case: "control",
    value: { header, requestId: new Uint8Array(16), body: { case: "keyPackageFetch", value: { suite: 1 } } },
  }),
  encodeFrame({
    case: "attachHello",
    value: {
      agentId: header.source,
      instance: "main",
      nonce: new Uint8Array(32),
      features: ["mls/1"],
      attachmentSequence: 3n,
    },
  }),
  encodeFrame({ case: "subscribe", value: { request: 1n, topic: "blue.example/a/b/*" } }),
  encodeFrame({
    case: "topicInterest",
    value: { origin: "https://gw1.blue.example/amsp", epoch: 1n, sequence: 2n, topics: ["blue.example/a/b"] },
  }),
];

const key: SigningKey = (() => {
  const pair = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return {
    spki: new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" })),
    sign: (message) => new Uint8Array(sign("sha256", message, pair.privateKey)),
  };
})();
const agentId = parseAgentId("blue.example/assistant/planner");
const root = createRoot(nodeCrypto, {
  key,
  domain: parseDomain("blue.example"),
  notBefore: asUnixMs(1.7e12),
  notAfter: asUnixMs(2e12),
});
const card = text(
  JSON.stringify({
    name: "Planner",
    description: "Plans",
    version: "1",
    skills: [{ id: "plan", name: "Plan", description: "Plans trips", tags: ["travel"] }],
  }),
);
const digest = new Uint8Array(32).fill(3);

function message<Desc extends DescMessage>(name: string, schema: Desc, seeds: readonly Uint8Array[]): FuzzTarget {
  return {
    name: `proto-${name}`,
    seeds,
    run: (bytes) => void fromBinary(schema, bytes),
    // The protobuf runtime refuses with plain errors; the ports that call it turn them into MALFORMED.
    tolerates: (thrown) =>
      thrown instanceof Error && !(thrown instanceof RangeError && /stack|memory/i.test(thrown.message)),
  };
}

function scanned(frame: Uint8Array): FrameScan {
  const scan = new FrameScan();
  const refusal = scanFrame(frame, 0, frame.length, scan);
  if (refusal !== undefined) throw new Error(refusal.message);
  return scan;
}

export const targets: readonly FuzzTarget[] = [
  {
    name: "frame-scan",
    seeds: frames,
    run(bytes) {
      // Surrounded by other bytes, as inside a received buffer: nothing outside may change or matter.
      const buffer = new Uint8Array(bytes.length + 8).fill(0xaa);
      buffer.set(bytes, 4);
      const scan = new FrameScan();
      const refusal = scanFrame(buffer, 4, 4 + bytes.length, scan);
      if (refusal === undefined && (scan.start < 4 || scan.end > 4 + bytes.length))
        throw new RangeError("scanned outside");
      if (buffer.subarray(0, 4).some((b) => b !== 0xaa) || buffer.subarray(-4).some((b) => b !== 0xaa))
        throw new RangeError("wrote outside");
    },
  },
  { name: "frame-decode", seeds: frames, run: (bytes) => void decodeFrame(bytes) },
  {
    name: "grpc-framing",
    seeds: frames.map((frame) => encodeGrpcMessage(frame)),
    run(bytes) {
      const splitter = new FrameSplitter();
      let total = 0;
      for (let at = 0; at < bytes.length; at += 7)
        splitter.push(bytes.subarray(at, at + 7), (_buf, start, end) => (total += end - start));
      if (total > bytes.length) throw new RangeError("more came out than went in");
    },
  },
  {
    name: "h2-frames",
    seeds: [
      Buffer.concat([
        encodeSettings([[Setting.onlyLink, 1]]),
        encodeHeaders({ ":status": "200", "content-type": "application/grpc" }, false),
        encodeWindowUpdate(65_535, 1),
        encodeH2Frame(FrameType.data, 0, encodeGrpcMessage(frames[0] ?? new Uint8Array())),
        encodeH2Frame(FrameType.ping, 0, new Uint8Array(8)),
      ]),
    ],
    run(bytes) {
      // Surrounded by other bytes and in pieces, as it is read; what comes out has to lie in what went in.
      const buffer = new Uint8Array(bytes.length + 8).fill(0xaa);
      buffer.set(bytes, 4);
      let total = 0;
      const reader = new H2Reader({
        dataFrame: (length) => (length > 16_384 ? 6 : undefined),
        data(chunk, start, end) {
          if (chunk !== buffer || start < 4 || end > 4 + bytes.length || start > end)
            throw new RangeError("read outside");
          total += end - start;
        },
        ended: () => undefined,
        headers: () => undefined,
        control: (_type, _flags, _stream, payload) => (payload.length > 192 ? 6 : undefined),
      });
      for (let at = 4; at < 4 + bytes.length; at += 11) {
        if (reader.push(buffer, at, Math.min(at + 11, 4 + bytes.length)) !== undefined) break;
      }
      if (total > bytes.length) throw new RangeError("more came out than went in");
    },
  },
  {
    name: "for-gateways",
    seeds: [
      ...frames,
      ...frames.map((frame) => addressCopy(scanned(frame), [parseGatewayUri("https://gw1.blue.example/amsp")])),
    ],
    run(bytes) {
      const scan = new FrameScan();
      if (scanFrame(bytes, 0, bytes.length, scan) !== undefined) return;
      const gateways = gatewaysOf(scan);
      const plain = addressCopy(scan, undefined);
      const again = new FrameScan();
      if (scanFrame(plain, 0, plain.length, again) !== undefined || again.gatewaysEnd !== 0)
        throw new RangeError("a frame without its list is no frame");
      if ((gateways?.size ?? 0) > 64) throw new RangeError("a list beyond its bound");
    },
  },
  {
    name: "session-packet",
    seeds: [
      encodePacket({
        id: "01".repeat(16),
        messages: [],
        channel: "",
        channelFloor: 0,
        acks: [],
      }),
    ],
    run: (bytes) => void decodePacket(bytes),
  },
  { name: "mls-framing", seeds: [privateMessage], run: (bytes) => void checkMlsPayload(bytes) },
  { name: "csr", seeds: [createCsr(key, { spiffeId: agentId })], run: (bytes) => void parseCsr(nodeCrypto, bytes) },
  {
    name: "certificate-chain",
    seeds: [root],
    run: (bytes) => void new TrustStore(nodeCrypto).verifyChain([bytes], { now: asUnixMs(1.8e12), purpose: "tls" }),
  },
  {
    name: "trust-state",
    seeds: [root],
    run: (bytes) =>
      void new TrustStore(nodeCrypto).replace(
        create(aca.TrustStateSchema, {
          sequence: 1n,
          bundles: [{ domain: "blue.example", roots: [bytes], crls: [bytes], intermediates: [bytes] }],
        }),
      ),
  },
  { name: "agent-card", seeds: [card], run: (bytes) => void parseAgentCard(bytes) },
  {
    name: "record-body",
    seeds: [
      encodeRecordBody({ agentId, agentCard: card, languages: ["en"], revision: 1n, updatedAt: asUnixMs(1.8e12) }),
    ],
    run: (bytes) => void parseRecordBody(bytes),
  },
  {
    name: "origin-statement",
    seeds: [
      encodeOriginStatement({
        agentId,
        origin: parseGatewayUri("https://gw1.blue.example/amsp"),
        version: { epoch: 1n, sequence: 2n },
        status: "online",
        bodyDigest: digest,
        at: asUnixMs(1.8e12),
        withdrawn: false,
        attachmentSequence: 1n,
      }),
    ],
    run: (bytes) => void parseOriginStatement(bytes),
  },
  {
    name: "receipt",
    seeds: [
      encodeReceipt({
        agentId,
        resourceId: "rid",
        revision: 1n,
        bodyDigest: digest,
        issuedAt: asUnixMs(1),
        expiresAt: asUnixMs(2),
      }),
    ],
    run: (bytes) => void parseReceipt(bytes),
  },
  {
    name: "join-token",
    seeds: [
      text(
        encodeJoinToken({ url: "https://127.0.0.1:7400", rootFingerprint: "ab".repeat(32), secret: "A".repeat(43) }),
      ),
    ],
    run: (bytes) => void parseJoinToken(asText(bytes)),
  },
  {
    name: "spiffe-id",
    seeds: [text(agentId), text(`${agentId}/@one`)],
    run: (bytes) => void parseSpiffeId(asText(bytes)),
  },
  {
    name: "gateway-uri",
    seeds: [text("https://gw1.blue.example/amsp"), text("127.0.0.1:7000")],
    run: (bytes) => void parseGatewayUri(asText(bytes)),
  },
  message("frame", agp.FrameSchema, frames),
  message("amsp", amsp.MessageSchema, [
    toBinary(
      amsp.MessageSchema,
      create(amsp.MessageSchema, {
        body: {
          case: "hello",
          value: { version: 1, gatewayUri: "https://gw1.blue.example/amsp", role: amsp.PeerRole.LEVEL1 },
        },
      }),
    ),
  ]),
  message("signed-record", record.SignedRecordSchema, [
    toBinary(record.SignedRecordSchema, create(record.SignedRecordSchema, { body: card })),
  ]),
  message("register", ars.RegisterRequestSchema, [
    toBinary(ars.RegisterRequestSchema, create(ars.RegisterRequestSchema, { record: { body: card } })),
  ]),
  message("enrol", aca.EnrolRequestSchema, [
    toBinary(aca.EnrolRequestSchema, create(aca.EnrolRequestSchema, { spiffeId: agentId, token: "t" })),
  ]),
  message("offer", aap.GatewayOfferSchema, [
    toBinary(aap.GatewayOfferSchema, create(aap.GatewayOfferSchema, { gatewayId: "g", nonce: digest })),
  ]),
];
