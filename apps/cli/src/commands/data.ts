/** What commands take as content and as numbers, and how content is printed. */
import { readFileSync } from "node:fs";
import type { Content, Json } from "@causeway/agent";
import { refuse } from "@causeway/core-base";

/** Text, JSON when it is an object or array, or standard input for "-". */
export function dataOf(data: string): Json {
  const text = data === "-" ? readFileSync(0, "utf8") : data;
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.parse(text) as Json;
  } catch {
    // Looks like JSON and is not: it is text.
    return text;
  }
}

/** Text and JSON as they are, bytes as base64. */
export function printable(content: Content): Json {
  const { data } = content;
  return data instanceof Uint8Array ? Buffer.from(data).toString("base64") : data;
}

/** A whole number of an option. Throws `CAUSEWAY_CONFIG_INVALID` outside of the range. */
export function numberOf(text: string, option: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= min && value <= max) return value;
  throw refuse(
    "CAUSEWAY_CONFIG_INVALID",
    `expected a whole number from ${min} to ${max} for ${option}, got ${JSON.stringify(text)}`,
  );
}

/** One of the words that an option takes. Throws `CAUSEWAY_CONFIG_INVALID` for another one. */
export function wordOf<W extends string>(text: string, option: string, words: readonly W[]): W {
  const word = words.find((each) => each === text);
  if (word !== undefined) return word;
  const choice = `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
  throw refuse("CAUSEWAY_CONFIG_INVALID", `expected ${option} ${choice}, got ${JSON.stringify(text)}`);
}

/** The 16 bytes of a message id, with or without hyphens; undefined for anything else. */
export function messageIdOf(text: string): Uint8Array | undefined {
  const hex = text.replaceAll("-", "");
  return /^[0-9a-f]{32}$/i.test(hex) && !text.includes("/") ? new Uint8Array(Buffer.from(hex, "hex")) : undefined;
}
