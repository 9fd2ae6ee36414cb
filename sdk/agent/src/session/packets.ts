/**
 * Builds and reads the plaintexts of the MLS messages between endpoints: packets of one or more messages. Written by hand
 * for what every message has, since it is the larger part of the work for a message; everything else is left to the
 * generated code. A test compares both.
 */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { CausewayError, isErrorCode, refuse } from "@causeway/core-base";
import type { ChannelReport, ChannelState, NumberRange } from "@causeway/core-session";
import { common, session } from "@causeway/core-wire";
import { detailOfRefusal, errorOf, type SessionBody } from "./messages.ts";
import { WireReader } from "./wire-reader.ts";
import { WireWriter } from "./wire-writer.ts";

/** One message of a packet. */
export interface PackedMessage {
  /** Hex of 16 bytes. */
  readonly id: string;
  readonly body: SessionBody;
  /** 0 for none. */
  readonly expiresUnixMs: number;
  /** Absent for what gets no acknowledgement. */
  readonly reliable?:
    | {
        readonly number: number;
        readonly lane: string;
        readonly sequence: number;
        readonly laneFloor: number;
      }
    | undefined;
}

/** What one MLS application message holds. */
export interface Packet {
  /** Hex of 16 bytes, equal to the header's message id. */
  readonly id: string;
  readonly messages: readonly PackedMessage[];
  /** Hex; empty when no message is reliable. */
  readonly channel: string;
  readonly channelFloor: number;
  readonly acks: readonly ChannelState[];
}

/** A packet as it came: what its sender says of our messages is not judged yet. */
export interface OpenedPacket extends Omit<Packet, "acks"> {
  readonly acks: readonly ChannelReport[];
}

export function encodePacket(packet: Packet, sizeHint = 1_024): Uint8Array {
  const { id, messages, channel, channelFloor, acks } = packet;
  const writer = new WireWriter(sizeHint);
  writer.uint(inPacket.version, 1);
  writer.hex(inPacket.packetId, id);
  for (const message of messages) writer.message(inPacket.messages, () => writeMessage(writer, message));
  writer.hex(inPacket.channel, channel);
  writer.uint(inPacket.floor, channelFloor);
  for (const ack of acks) writer.message(inPacket.acks, () => writeAck(writer, ack));
  return writer.finish();
}

/** Parses a plaintext. Throws `CAUSEWAY_FRAME_MALFORMED`, `CAUSEWAY_FRAME_UNKNOWN` or `CAUSEWAY_UNSUPPORTED`. */
export function decodePacket(plaintext: Uint8Array): OpenedPacket {
  try {
    return readPacket(plaintext);
  } catch (cause) {
    if (cause instanceof CausewayError) throw cause;
    throw refuse("CAUSEWAY_FRAME_MALFORMED", "expected a SessionPacket inside MLS, got bytes that do not parse", {
      cause,
    });
  }
}

function readPacket(plaintext: Uint8Array): OpenedPacket {
  const reader = new WireReader(plaintext);
  const messages: PackedMessage[] = [];
  const acks: ChannelReport[] = [];
  let [version, id, channel, channelFloor] = [0, "", "", 0];
  while (reader.next()) {
    if (reader.field === inPacket.messages) messages.push(readMessage(reader.message()));
    else if (reader.field === inPacket.acks) acks.push(readAck(reader.message()));
    else if (reader.field === inPacket.version) {
      version = reader.uint();
    } else if (reader.field === inPacket.packetId) id = reader.hex();
    else if (reader.field === inPacket.channel) channel = reader.hex();
    else if (reader.field === inPacket.floor) channelFloor = reader.uint();
    else reader.skip();
  }
  if (version !== 1)
    throw refuse("CAUSEWAY_UNSUPPORTED", `expected session version 1, got ${version}; update this agent's SDK`);
  return { id, messages, channel, channelFloor, acks };
}

function writeMessage(writer: WireWriter, { id, body, expiresUnixMs, reliable }: PackedMessage): void {
  writer.hex(inMessage.messageId, id);
  if (reliable) {
    writer.message(inMessage.position, () => {
      writer.hex(inPosition.lane, reliable.lane);
      writer.uint(inPosition.sequence, reliable.sequence);
      writer.uint(inPosition.floor, reliable.laneFloor);
    });
  }
  if (body.case === "message") writer.message(inMessage.message, () => writeData(writer, body.value));
  else if (body.case === "streamData")
    writer.message(inMessage.streamData, () => writer.bytes(inStreamData.content, body.value.content));
  else writeOther(writer, body);
  writer.uint(inMessage.number, reliable?.number ?? 0);
  writer.fixed64(inMessage.expiresUnixMs, Math.ceil(expiresUnixMs));
}

function writeData(writer: WireWriter, { contentType, content }: session.Data): void {
  writer.text(inData.contentType, contentType);
  writer.bytes(inData.content, content);
}

function writeOther(writer: WireWriter, body: SessionBody): void {
  const { number, message } = session.SessionMessageSchema.field[body.case];
  if (!message) throw refuse("CAUSEWAY_INTERNAL", `expected a message as ${body.case}`);
  const bytes = toBinary(message, body.value);
  // An empty message is a kind of message all the same.
  writer.message(number, () => writer.raw(bytes));
}

function readMessage(reader: WireReader): PackedMessage {
  let [id, number, expiresUnixMs] = ["", 0, 0];
  let body: SessionBody | undefined;
  let place: Omit<NonNullable<PackedMessage["reliable"]>, "number"> | undefined;
  while (reader.next()) {
    const { field } = reader;
    if (field === inMessage.messageId) id = reader.hex();
    else if (field === inMessage.position) place = readPosition(reader.message());
    else if (field === inMessage.number) number = reader.uint();
    else if (field === inMessage.expiresUnixMs) expiresUnixMs = reader.fixed64();
    else if (field === inMessage.message) body = { case: "message", value: readData(reader.message()) };
    else if (field === inMessage.streamData) body = { case: "streamData", value: readStreamData(reader.message()) };
    else body = readOther(reader) ?? body;
  }
  if (id.length !== 32)
    throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected a message id of 16 bytes, got ${id.length / 2}`);
  if (!body) throw refuse("CAUSEWAY_FRAME_UNKNOWN", "expected a known kind of message; the other agent's SDK is newer");
  if (number === 0) return { id, body, expiresUnixMs };
  if (place?.lane.length !== 32)
    throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected a ${body.case} with its position in a lane, got none`);
  return { id, body, expiresUnixMs, reliable: { ...place, number } };
}

function readPosition(reader: WireReader): { lane: string; sequence: number; laneFloor: number } {
  const position = { lane: "", sequence: 0, laneFloor: 0 };
  while (reader.next()) {
    if (reader.field === inPosition.lane) position.lane = reader.hex();
    else if (reader.field === inPosition.sequence) position.sequence = reader.uint();
    else if (reader.field === inPosition.floor) position.laneFloor = reader.uint();
    else reader.skip();
  }
  return position;
}

function readData(reader: WireReader): session.Data {
  let [contentType, content] = ["", noBytes];
  while (reader.next()) {
    if (reader.field === inData.contentType) contentType = knownType(reader.bytes());
    // A copy: the application may keep a small content, and should not keep its whole packet with it.
    else if (reader.field === inData.content) content = reader.bytes().slice();
    else reader.skip();
  }
  return { $typeName: "causeway.session.v1.Data", contentType, content };
}

function readStreamData(reader: WireReader): session.StreamData {
  let content = noBytes;
  while (reader.next()) {
    if (reader.field === inStreamData.content) content = reader.bytes().slice();
    else reader.skip();
  }
  return { $typeName: "causeway.session.v1.StreamData", content };
}

/** Undefined for a field that this version does not know. */
function readOther(reader: WireReader): SessionBody | undefined {
  const known = otherBodies.get(reader.field);
  if (!known) {
    reader.skip();
    return undefined;
  }
  return { case: known.name, value: fromBinary(known.schema, reader.bytes()) } as SessionBody;
}

function writeAck(writer: WireWriter, { channel, taken, received, refused }: ChannelState): void {
  writer.hex(inAck.channel, channel);
  writer.packed(inAck.taken, taken.flat());
  writer.packed(inAck.received, received.flat());
  for (const [number, refusal] of refused) {
    writer.message(inAck.refused, () => {
      writer.uint(inRefused.number, number);
      writer.message(inRefused.error, () => writer.raw(toBinary(common.ErrorDetailSchema, detailOfRefusal(refusal))));
    });
  }
}

function readAck(reader: WireReader): ChannelReport {
  const [taken, received]: [number[], number[]] = [[], []];
  const refused = new Map<number, CausewayError>();
  let channel = "";
  while (reader.next()) {
    if (reader.field === inAck.channel) channel = reader.hex();
    else if (reader.field === inAck.taken) reader.uintsInto(taken);
    else if (reader.field === inAck.received) reader.uintsInto(received);
    else if (reader.field === inAck.refused) {
      const { number, error } = fromBinary(session.RefusedSchema, reader.bytes());
      const detail = error && isErrorCode(error.code) ? error : undefined;
      refused.set(Number(number), errorOf(detail, "CAUSEWAY_AGENT_HANDLER_FAILED"));
    } else reader.skip();
  }
  return { channel, taken: rangesOf(taken), received: rangesOf(received), refused };
}

/** Ascending ranges; anything else is no report at all. */
function rangesOf(pairs: readonly number[]): NumberRange[] {
  const ranges: NumberRange[] = [];
  let before = 0;
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const [first = 0, last = 0] = [pairs[i], pairs[i + 1]];
    if (!(first > before && last >= first))
      throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected ranges that ascend, got ${first} to ${last} after ${before}`);
    ranges.push([first, last]);
    before = last;
  }
  return ranges;
}

/** A media type as text; the same few come again and again. */
function knownType(bytes: Uint8Array): string {
  for (const type of mediaTypes) if (type.bytes.length === bytes.length && same(type.bytes, bytes)) return type.text;
  return new TextDecoder().decode(bytes);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

const mediaTypes = ["application/octet-stream", "application/json", "text/plain; charset=utf-8"].map((text) => ({
  text,
  bytes: new TextEncoder().encode(text),
}));
const noBytes = new Uint8Array();

type Numbers<T extends { readonly field: Readonly<Record<string, { readonly number: number }>> }> = {
  readonly [K in keyof T["field"]]: number;
};

/** The field numbers of a message, as plain properties. */
function numbersOf<T extends { readonly field: Readonly<Record<string, { readonly number: number }>> }>(
  schema: T,
): Numbers<T> {
  return Object.fromEntries(Object.entries(schema.field).map(([name, { number }]) => [name, number])) as Numbers<T>;
}

const inPacket = numbersOf(session.SessionPacketSchema);
const inMessage = numbersOf(session.SessionMessageSchema);
const inPosition = numbersOf(session.PositionSchema);
const inData = numbersOf(session.DataSchema);
const inStreamData = numbersOf(session.StreamDataSchema);
const inAck = numbersOf(session.ChannelAckSchema);
const inRefused = numbersOf(session.RefusedSchema);

/** Kinds of messages that the generated code reads, by field number. */
const otherBodies = new Map(
  session.SessionMessageSchema.fields
    .filter((field) => field.oneof?.localName === "body" && field.message)
    .flatMap((field) =>
      field.message ? [[field.number, { name: field.localName, schema: field.message }] as const] : [],
    ),
);
