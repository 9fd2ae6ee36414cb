/**
 * What endpoints put into messages. Gateways see opaque bytes, as they would of encrypted content: a payload is the
 * number of a packet that the world keeps.
 */
import type { ChannelState, StreamFrame } from "@causeway/core-session";

/** Content of one reliable message. */
export type Content =
  | { readonly kind: "note" }
  | { readonly kind: "stream"; readonly stream: string; readonly frame: StreamFrame };

export interface PackedMessage {
  readonly id: string;
  readonly number: number;
  readonly laneFloor: number;
  readonly lane: string;
  readonly sequence: number;
  readonly bytes: number;
  readonly content: Content;
}

/** One message, or acknowledgements. */
export interface Packet {
  readonly channel: string;
  readonly channelFloor: number;
  readonly message?: PackedMessage;
  readonly reports: readonly ChannelState[];
}

/** All packets of a world. */
export class Packets {
  readonly #packets = new Map<number, Packet>();

  seal(packet: Packet): Uint8Array {
    const number = this.#packets.size + 1;
    this.#packets.set(number, packet);
    const payload = new Uint8Array(payloadBytes);
    new DataView(payload.buffer).setUint32(0, number);
    return payload;
  }

  /** Undefined for what is no packet. */
  open(payload: Uint8Array): Packet | undefined {
    if (payload.length !== payloadBytes) return undefined;
    return this.#packets.get(new DataView(payload.buffer, payload.byteOffset).getUint32(0));
  }
}

const payloadBytes = 24;
