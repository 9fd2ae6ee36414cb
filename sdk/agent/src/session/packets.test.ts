/** The codec of packets against the generated code, and against bytes that are no packet. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { refuse } from "@causeway/core-base";
import { session } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Content } from "../content.ts";
import { dataOf, type SessionBody } from "./messages.ts";
import { decodePacket, encodePacket, type PackedMessage, type Packet } from "./packets.ts";

const hexOf = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((value) => Buffer.from(value).toString("hex"));
const count = fc.integer({ min: 1, max: 2 ** 53 - 1 });

const body: fc.Arbitrary<SessionBody> = fc.oneof(
  fc
    .record({
      text: fc.string({ unit: "grapheme", maxLength: 300 }),
      type: fc.constantFrom("text/plain", "täxt/ö", ""),
    })
    .map(({ text, type }) => ({
      case: "message" as const,
      value: dataOf(new Content(type, new TextEncoder().encode(text))),
    })),
  fc.uint8Array({ maxLength: 500 }).map((content) => ({
    case: "streamData" as const,
    value: create(session.StreamDataSchema, { content }),
  })),
  fc.string({ maxLength: 200 }).map((method) => ({
    case: "request" as const,
    value: create(session.RequestSchema, { method, metadata: { a: "b" }, timeoutMs: 7n }),
  })),
  fc.constant({ case: "streamEnd" as const, value: create(session.StreamEndSchema) }),
);

const message: fc.Arbitrary<PackedMessage> = fc.record({
  id: hexOf(16),
  body,
  expiresUnixMs: fc.integer({ min: 0, max: 2 ** 45 }),
  reliable: fc.option(fc.record({ number: count, lane: hexOf(16), sequence: count, laneFloor: count }), {
    nil: undefined,
  }),
});

const ranges = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 1_000_000 }), fc.integer({ min: 0, max: 1_000_000 })), { maxLength: 20 })
  .map((steps) => {
    let at = 0;
    return steps.map(([gap, length]) => {
      const first = at + gap + 1;
      at = first + length;
      return [first, at] as const;
    });
  });

const packet: fc.Arbitrary<Packet> = fc.record({
  id: hexOf(16),
  messages: fc.array(message, { maxLength: 5 }),
  channel: fc.oneof(hexOf(8), fc.constant("")),
  channelFloor: fc.integer({ min: 0, max: 2 ** 53 - 1 }),
  acks: fc.array(
    fc.record({
      channel: hexOf(8),
      taken: ranges,
      received: ranges,
      refused: fc
        .array(fc.tuple(count, fc.string({ maxLength: 50 })), { maxLength: 3 })
        .map((list) => new Map(list.map(([n, text]) => [n, { code: "CAUSEWAY_CANCELLED", message: text }]))),
    }),
    { maxLength: 3 },
  ),
});

const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"));

/** The same packet as the generated code has it. */
function generated({ id, messages, channel, channelFloor, acks }: Packet): session.SessionPacket {
  return create(session.SessionPacketSchema, {
    version: 1,
    packetId: bytesOf(id),
    channel: bytesOf(channel),
    floor: BigInt(channelFloor),
    messages: messages.map(({ id: messageId, body: value, expiresUnixMs, reliable }) => ({
      messageId: bytesOf(messageId),
      body: value,
      expiresUnixMs: BigInt(expiresUnixMs),
      ...(reliable && {
        number: BigInt(reliable.number),
        position: {
          lane: bytesOf(reliable.lane),
          sequence: BigInt(reliable.sequence),
          floor: BigInt(reliable.laneFloor),
        },
      }),
    })),
    acks: acks.map(({ channel: name, taken, received, refused }) => ({
      channel: bytesOf(name),
      taken: taken.flat().map(BigInt),
      received: received.flat().map(BigInt),
      refused: [...refused].map(([number, { code, message: text }]) => ({
        number: BigInt(number),
        error: { code, message: text },
      })),
    })),
  });
}

describe("a packet", () => {
  test("is read by the generated code as it was meant, and the other way round", () => {
    fc.assert(
      fc.property(packet, (given) => {
        const written = encodePacket(given, 8);
        expect(fromBinary(session.SessionPacketSchema, written)).toEqual(generated(given));
        const read = decodePacket(toBinary(session.SessionPacketSchema, generated(given)));
        const { acks, ...rest } = read;
        const { acks: _, ...expected } = given;
        expect(JSON.stringify(rest, plainly)).toEqual(JSON.stringify(expected, plainly));
        expect(acks.map(({ channel, taken, received }) => ({ channel, taken, received }))).toEqual(
          given.acks.map(({ channel, taken, received }) => ({ channel, taken, received })),
        );
        expect(acks.map(({ refused }) => [...refused].map(([n, { code, message: text }]) => [n, code, text]))).toEqual(
          given.acks.map(({ refused }) => [...refused].map(([n, { code, message: text }]) => [n, code, text])),
        );
      }),
      { numRuns: 300 },
    );
  });

  test("that is damaged anywhere is refused with a code, or is another packet", () => {
    fc.assert(
      fc.property(packet, fc.nat(), fc.integer({ min: 0, max: 255 }), (given, at, byte) => {
        const bytes = encodePacket(given).slice();
        bytes[at % bytes.length] = byte;
        for (const damaged of [bytes, bytes.subarray(0, at % bytes.length)]) {
          try {
            decodePacket(damaged);
          } catch (thrown) {
            expect(thrown).toMatchObject({ code: expect.stringMatching(/^CAUSEWAY_(FRAME|UNSUPPORTED)/) });
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test("of a newer SDK is refused when it says something that this one does not know", () => {
    const odd = create(session.SessionPacketSchema, { version: 2, packetId: new Uint8Array(16) });
    expect(() => decodePacket(toBinary(session.SessionPacketSchema, odd))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_UNSUPPORTED" }),
    );
    const unknown = create(session.SessionPacketSchema, {
      version: 1,
      packetId: new Uint8Array(16),
      messages: [{ messageId: new Uint8Array(16), $unknown: [{ no: 99, wireType: 2, data: new Uint8Array([0]) }] }],
    });
    expect(() => decodePacket(toBinary(session.SessionPacketSchema, unknown))).toThrow(
      expect.objectContaining({ code: refuse("CAUSEWAY_FRAME_UNKNOWN", "").code }),
    );
  });
});

function plainly(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  return value;
}
