/**
 * The join token: one string that is enough to find an authority, to trust it and to enrol. It is
 * `cwj1.` + base64url(JSON {u: URL of the authority, f: SHA-256 of its root as hex, s: secret}), and whoever holds it can
 * enrol once. Parsing is strict: anything but the exact form that `encodeJoinToken` writes is refused, and no part of a
 * token is repeated in an error.
 */

import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { refuse } from "@causeway/core-base";

/** What a join token says. */
export interface JoinToken {
  /** https://host:port of the authority. */
  readonly url: string;
  /** SHA-256 of the root certificate (DER), 64 lower-case hex digits. */
  readonly rootFingerprint: string;
  /** 32 random bytes as base64url; the authority keeps only its hash. */
  readonly secret: string;
}

/** Writes a join token. Throws `CAUSEWAY_MISUSE` when a part does not have its form. */
export function encodeJoinToken(token: JoinToken): string {
  if (!isWellFormed(token))
    throw refuse("CAUSEWAY_MISUSE", "expected an https URL, a SHA-256 in hex and a secret of 32 bytes");
  const json = JSON.stringify({ u: token.url, f: token.rootFingerprint, s: token.secret });
  return (
    prefix +
    base64Encode(
      Uint8Array.from(json, (c) => c.charCodeAt(0)),
      "url",
    )
  );
}

/** Parses a join token. Throws `CAUSEWAY_IDENTITY_TOKEN_INVALID`. */
export function parseJoinToken(text: string): JoinToken {
  const token = decode(text);
  if (token && encodeJoinToken(token) === text) return token;
  throw refuse(
    "CAUSEWAY_IDENTITY_TOKEN_INVALID",
    `expected a join token that starts with ${prefix}, got ${text.length} characters of another form; copy the whole token`,
  );
}

function decode(text: string): JoinToken | undefined {
  if (!text.startsWith(prefix) || text.length > tokenCharsMax) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(String.fromCharCode(...base64Decode(text.slice(prefix.length))));
  } catch {
    // Neither base64url nor JSON: the caller refuses the text as a whole.
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("u" in value) || !("f" in value) || !("s" in value))
    return undefined;
  const { u, f, s } = value;
  if (typeof u !== "string" || typeof f !== "string" || typeof s !== "string") return undefined;
  const token = { url: u, rootFingerprint: f, secret: s };
  return isWellFormed(token) ? token : undefined;
}

function isWellFormed(token: JoinToken): boolean {
  return (
    token.url.length <= urlCharsMax &&
    /^https:\/\/(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):\d{1,5}$/.test(token.url) &&
    /^[0-9a-f]{64}$/.test(token.rootFingerprint) &&
    /^[A-Za-z0-9_-]{43}$/.test(token.secret)
  );
}

const prefix = "cwj1.";
const urlCharsMax = 300;
const tokenCharsMax = 1_024;
