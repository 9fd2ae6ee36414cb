/** What an inbox remembers of a sender, as bytes for the store. */
import type { NumberRange } from "./ranges.ts";

/** What has to survive a restart, of one sender. */
export interface InboxState {
  readonly channels: readonly {
    readonly channel: string;
    readonly floor: number;
    readonly settled: readonly NumberRange[];
    /** Of these, the refused ones with their codes. */
    readonly refused: readonly (readonly [number: number, code: string])[];
  }[];
  readonly lanes: readonly {
    readonly lane: string;
    readonly floor: number;
    readonly settled: readonly NumberRange[];
  }[];
}

/** Codes of refusals are kept and sentences are not: they may quote content, and this state is not encrypted. */
export function encodeInboxState(state: InboxState): Uint8Array {
  const channels = state.channels.map(({ channel, floor, settled, refused }) => [channel, floor, settled, refused]);
  const lanes = state.lanes.map(({ lane, floor, settled }) => [lane, floor, settled]);
  return ascii(JSON.stringify([channels, lanes]));
}

/** Undefined for what is damaged: it protects nothing then, and a message may be taken twice once. */
export function decodeInboxState(bytes: Uint8Array): InboxState | undefined {
  try {
    const [channels, lanes] = list(JSON.parse(text(bytes)));
    return {
      channels: list(channels).map((value) => {
        const [channel, floor, settled, refused] = list(value);
        const codes = list(refused).map((pair) => {
          const [number, code] = list(pair);
          return [count(number), string(code)] as const;
        });
        return { channel: string(channel), floor: count(floor), settled: ranges(settled), refused: codes };
      }),
      lanes: list(lanes).map((value) => {
        const [lane, floor, settled] = list(value);
        return { lane: string(lane), floor: count(floor), settled: ranges(settled) };
      }),
    };
  } catch {
    return undefined;
  }
}

function ranges(value: unknown): NumberRange[] {
  return list(value).map((pair) => {
    const [first, last] = list(pair);
    if (count(last) < count(first)) throw new TypeError("expected a range that ascends");
    return [count(first), count(last)];
  });
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError("expected a list");
  return value;
}

function string(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("expected a text");
  return value;
}

function count(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1)
    throw new TypeError("expected a number from 1");
  return value;
}

/** Ids are hex and codes ASCII: no encoder is needed, which the core does not have. */
function ascii(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function text(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
