/** What an inbox remembers of a sender, as bytes for the store. */
import type { InboxState } from "./inbox.ts";

/** Codes of refusals are kept and sentences are not: they may quote content, and this state is not encrypted. */
export function encodeInboxState(state: InboxState): Uint8Array {
  const lanes = state.lanes.map(({ lane, next, settled }) => [
    lane,
    next,
    settled.map(({ id, sequence, refusal }) => (refusal ? [id, sequence, refusal.code] : [id, sequence])),
  ]);
  return new TextEncoder().encode(JSON.stringify(lanes));
}

/** Undefined for what is damaged: it protects nothing then, and a message may be taken twice once. */
export function decodeInboxState(bytes: Uint8Array): InboxState | undefined {
  try {
    return { lanes: list(JSON.parse(new TextDecoder().decode(bytes))).map(laneOf) };
  } catch {
    return undefined;
  }
}

function laneOf(value: unknown): InboxState["lanes"][number] {
  const [lane, next, settled] = list(value);
  return { lane: text(lane), next: count(next), settled: list(settled).map(settledOf) };
}

function settledOf(value: unknown): InboxState["lanes"][number]["settled"][number] {
  const [id, sequence, code] = list(value);
  const entry = { id: text(id), sequence: count(sequence) };
  return code === undefined
    ? entry
    : { ...entry, refusal: { code: text(code), message: "refused before the last restart" } };
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError("expected a list");
  return value;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("expected a text");
  return value;
}

function count(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1)
    throw new TypeError("expected a number from 1");
  return value;
}
