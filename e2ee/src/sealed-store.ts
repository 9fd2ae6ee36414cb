/**
 * Encryption of everything that is kept: AES-256-GCM under a key that the caller holds (AGP-44). Each record has a key
 * of its own, derived from its name, and is bound to that name, so that records cannot be exchanged for each other.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { refuse } from "@causeway/core-base";
import type { StateStore } from "./ports.ts";

export class SealedStore {
  readonly #store: StateStore;
  readonly #key: Uint8Array;

  constructor(store: StateStore, key: Uint8Array) {
    if (key.length !== keyBytes)
      throw refuse("CAUSEWAY_MISUSE", `expected a state key of ${keyBytes} bytes, got ${key.length}`);
    this.#store = store;
    this.#key = key.slice();
  }

  /** Throws `CAUSEWAY_E2EE_STATE_CORRUPT` for a record that this key does not open. */
  async get(name: string): Promise<Uint8Array | undefined> {
    const sealed = await this.#store.get(name);
    if (sealed === undefined) return undefined;
    try {
      if (sealed[0] !== format || sealed.length < headBytes) throw new Error("unknown format");
      const decipher = createDecipheriv("aes-256-gcm", this.#recordKey(name), sealed.subarray(1, 1 + nonceBytes), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(Buffer.from(name));
      decipher.setAuthTag(sealed.subarray(1 + nonceBytes, headBytes));
      return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(headBytes)), decipher.final()]));
    } catch (cause) {
      throw refuse("CAUSEWAY_E2EE_STATE_CORRUPT", `the stored record ${name} does not open with the state key`, {
        cause,
      });
    }
  }

  async put(name: string, value: Uint8Array, options?: { readonly durable?: boolean }): Promise<void> {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv("aes-256-gcm", this.#recordKey(name), nonce, { authTagLength: tagBytes });
    cipher.setAAD(Buffer.from(name));
    const body = Buffer.concat([cipher.update(value), cipher.final()]);
    await this.#store.put(
      name,
      new Uint8Array(Buffer.concat([Buffer.from([format]), nonce, cipher.getAuthTag(), body])),
      options,
    );
  }

  delete(name: string): Promise<void> {
    return this.#store.delete(name);
  }

  list(prefix: string): Promise<readonly string[]> {
    return this.#store.list(prefix);
  }

  #recordKey(name: string): Uint8Array {
    return new Uint8Array(hkdfSync("sha256", this.#key, new Uint8Array(), `causeway e2ee state v1 ${name}`, keyBytes));
  }
}

/** Joins parts with their lengths in front. */
export function pack(parts: readonly Uint8Array[]): Uint8Array {
  const chunks: Uint8Array[] = [];
  for (const part of parts) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    chunks.push(length, part);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** The parts of `pack`. Throws `CAUSEWAY_E2EE_STATE_CORRUPT` when the lengths do not add up. */
export function unpack(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 <= bytes.length ? at + 4 + view.getUint32(at) : Number.POSITIVE_INFINITY;
    if (end > bytes.length) throw refuse("CAUSEWAY_E2EE_STATE_CORRUPT", "a stored record is cut off");
    parts.push(bytes.slice(at + 4, end));
    at = end;
  }
  return parts;
}

const format = 1;
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const headBytes = 1 + nonceBytes + tagBytes;
