/** Builds and reads the plaintexts of the MLS messages between endpoints: packets of one or more messages. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { isErrorCode, refuse } from "@causeway/core-base";
import type { ChannelReport, ChannelState, NumberRange } from "@causeway/core-session";
import { session } from "@causeway/core-wire";
import { fromHex, toHex } from "../bytes.ts";
import { detailOfRefusal, errorOf, type SessionBody } from "./messages.ts";

/** One message of a packet. */
export interface PackedMessage {
  /** 16 bytes. */
  readonly id: Uint8Array;
  readonly body: SessionBody;
  /** 0 for none. */
  readonly expiresUnixMs: number;
  /** Absent for what gets no acknowledgement. */
  readonly reliable?: {
    readonly number: number;
    readonly lane: string;
    readonly sequence: number;
    readonly laneFloor: number;
  };
}

/** What one MLS application message holds. */
export interface Packet {
  /** 16 bytes, equal to the header's message id. */
  readonly id: Uint8Array;
  readonly messages: readonly PackedMessage[];
  /** Hex; empty when no message is reliable. */
  readonly channel: string;
  readonly channelFloor: number;
  readonly acks: readonly ChannelState[];
}

export function encodePacket(packet: Packet): Uint8Array {
  const { id, messages, channel, channelFloor, acks } = packet;
  return toBinary(
    session.SessionPacketSchema,
    create(session.SessionPacketSchema, {
      version: 1,
      packetId: id,
      channel: fromHex(channel),
      floor: BigInt(channelFloor),
      messages: messages.map(({ id: messageId, body, expiresUnixMs, reliable }) => ({
        messageId,
        body,
        expiresUnixMs: BigInt(Math.ceil(expiresUnixMs)),
        ...(reliable && {
          number: BigInt(reliable.number),
          position: {
            lane: fromHex(reliable.lane),
            sequence: BigInt(reliable.sequence),
            floor: BigInt(reliable.laneFloor),
          },
        }),
      })),
      acks: acks.map(({ channel: acknowledged, taken, received, refused }) => ({
        channel: fromHex(acknowledged),
        taken: pairsOf(taken),
        received: pairsOf(received),
        refused: [...refused].map(([number, refusal]) => ({
          number: BigInt(number),
          error: detailOfRefusal(refusal),
        })),
      })),
    }),
  );
}

/** A packet as it came: what its sender says of our messages is not judged yet. */
export interface OpenedPacket extends Omit<Packet, "acks"> {
  readonly acks: readonly ChannelReport[];
}

/** Parses a plaintext. Throws `CAUSEWAY_FRAME_MALFORMED` or `CAUSEWAY_UNSUPPORTED`. */
export function decodePacket(plaintext: Uint8Array): OpenedPacket {
  let packet: session.SessionPacket;
  try {
    packet = fromBinary(session.SessionPacketSchema, plaintext);
  } catch (cause) {
    throw refuse("CAUSEWAY_FRAME_MALFORMED", "expected a SessionPacket inside MLS, got bytes that do not parse", {
      cause,
    });
  }
  if (packet.version !== 1) {
    throw refuse("CAUSEWAY_UNSUPPORTED", `expected session version 1, got ${packet.version}; update this agent's SDK`);
  }
  return {
    id: packet.packetId,
    channel: toHex(packet.channel),
    channelFloor: Number(packet.floor),
    messages: packet.messages.map(packedOf),
    acks: packet.acks.map((ack) => ({
      channel: toHex(ack.channel),
      taken: rangesOf(ack.taken),
      received: rangesOf(ack.received),
      refused: new Map(
        ack.refused.map(({ number, error }) => [
          Number(number),
          errorOf(error && isErrorCode(error.code) ? error : undefined, "CAUSEWAY_AGENT_HANDLER_FAILED"),
        ]),
      ),
    })),
  };
}

function packedOf({ messageId, body, number, position, expiresUnixMs }: session.SessionMessage): PackedMessage {
  if (messageId.length !== 16) {
    throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected a message id of 16 bytes, got ${messageId.length}`);
  }
  if (body.case === undefined) {
    throw refuse("CAUSEWAY_FRAME_UNKNOWN", "expected a known kind of message; the other agent's SDK is newer");
  }
  const message = { id: messageId, body, expiresUnixMs: Number(expiresUnixMs) };
  if (number === 0n) return message;
  if (position?.lane.length !== 16) {
    throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected a ${body.case} with its position in a lane, got none`);
  }
  const { lane, sequence, floor } = position;
  return {
    ...message,
    reliable: {
      number: Number(number),
      lane: toHex(lane),
      sequence: Number(sequence),
      laneFloor: Number(floor),
    },
  };
}

function pairsOf(ranges: readonly NumberRange[]): bigint[] {
  return ranges.flatMap(([first, last]) => [BigInt(first), BigInt(last)]);
}

/** Ascending ranges; anything else is no report at all. */
function rangesOf(pairs: readonly bigint[]): NumberRange[] {
  const ranges: NumberRange[] = [];
  let before = 0;
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const [first, last] = [Number(pairs[i]), Number(pairs[i + 1])];
    if (!(first > before && last >= first))
      throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected ranges that ascend, got ${first} to ${last} after ${before}`);
    ranges.push([first, last]);
    before = last;
  }
  return ranges;
}
