/** Application content: bytes with a media type. The network carries them unchanged and never looks inside (AAP-12). */
import { refuse } from "@causeway/core-base";

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * What an application may hand over: bytes (`application/octet-stream`), a string (`text/plain; charset=utf-8`), any
 * other JSON value (`application/json`), or a `Content` with a media type of its own.
 */
export type Data = Uint8Array | Json | Content;

/** Content as it was received. */
export class Content {
  /** Media type, for example `application/json`. */
  readonly contentType: string;
  readonly bytes: Uint8Array;

  constructor(contentType: string, bytes: Uint8Array) {
    this.contentType = contentType;
    this.bytes = bytes;
  }

  /** UTF-8 text. */
  text(): string {
    return decoder.decode(this.bytes);
  }

  /** Parsed JSON. Throws `CAUSEWAY_FRAME_MALFORMED` when the bytes are not JSON. */
  json(): Json {
    try {
      return JSON.parse(this.text()) as Json;
    } catch (cause) {
      throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected JSON content, got ${this.contentType} that does not parse`, {
        cause,
      });
    }
  }

  /** By content type: JSON is parsed, `text/…` is a string, everything else stays bytes. */
  get data(): Uint8Array | Json {
    const type = this.contentType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
    if (type === "application/json" || type.endsWith("+json")) return this.json();
    return type.startsWith("text/") ? this.text() : this.bytes;
  }

  /** Wraps what an application hands over. Throws `CAUSEWAY_MISUSE` for what JSON cannot hold. */
  static of(data: Data): Content {
    if (data instanceof Content) return data;
    if (data instanceof Uint8Array) return new Content("application/octet-stream", data);
    if (typeof data === "string") return new Content("text/plain; charset=utf-8", encoder.encode(data));
    const text = JSON.stringify(data) as string | undefined;
    if (text === undefined) {
      throw refuse("CAUSEWAY_MISUSE", `expected bytes, a string or a JSON value, got ${typeof data}`);
    }
    return new Content("application/json", encoder.encode(text));
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
