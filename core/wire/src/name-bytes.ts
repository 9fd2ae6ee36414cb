/**
 * The name grammar (C-13, AAP-69, AGP-20) over bytes, for the hot path. Accepts exactly what `parseSpiffeId` accepts in
 * its full form, prefixes of whole segments, and topics without wildcard; a test compares both readings.
 */
import { wireLimits } from "./limits.ts";

const scheme = [..."spiffe://"].map((c) => c.charCodeAt(0));
const slash = 0x2f;
const dot = 0x2e;
const at = 0x40;

/** True for `spiffe://domain/segment…`, optionally with a last segment `@instance`. */
export function isAgentName(buf: Uint8Array, start: number, end: number): boolean {
  if (end - start > wireLimits.nameBytesMax || !hasScheme(buf, start, end)) return false;
  const path = passDomain(buf, start + scheme.length, end);
  return path > 0 && path < end && isPath(buf, path, end, true);
}

/** True for `spiffe://domain` or `spiffe://domain/segment…`, with or without a slash at the end. */
export function isPrefixName(buf: Uint8Array, start: number, end: number): boolean {
  if (end - start > wireLimits.nameBytesMax || !hasScheme(buf, start, end)) return false;
  const last = end - 1 > start + scheme.length && buf[end - 1] === slash ? end - 1 : end;
  const path = passDomain(buf, start + scheme.length, last);
  return path > 0 && (path === last || isPath(buf, path, last, false));
}

/** True for `domain/segment…`: a topic that can be published to. */
export function isTopicName(buf: Uint8Array, start: number, end: number): boolean {
  if (end - start > wireLimits.nameBytesMax) return false;
  const path = passDomain(buf, start, end);
  return path > 0 && path < end && isPath(buf, path, end, false);
}

function hasScheme(buf: Uint8Array, start: number, end: number): boolean {
  if (end - start <= scheme.length) return false;
  for (let i = 0; i < scheme.length; i++) if (buf[start + i] !== scheme[i]) return false;
  return true;
}

/** Where the domain ends (at its slash or at `end`); 0 when it isn't one. */
function passDomain(buf: Uint8Array, start: number, end: number): number {
  let i = start;
  while (i < end && buf[i] !== slash) {
    if (((classOf[buf[i] as number] as number) & inDomain) === 0) return 0;
    i++;
  }
  return i === start || i - start > 255 ? 0 : i;
}

/** `start` is at the slash before the first segment. */
function isPath(buf: Uint8Array, start: number, end: number, instanceAllowed: boolean): boolean {
  let i = start;
  let segments = 0;
  while (i < end) {
    const from = ++i;
    if (instanceAllowed && buf[from] === at && segments > 0) return isInstance(buf, from + 1, end);
    while (i < end && buf[i] !== slash) {
      if (((classOf[buf[i] as number] as number) & inSegment) === 0) return false;
      i++;
    }
    if (i === from || isDots(buf, from, i)) return false;
    segments++;
  }
  return segments > 0;
}

function isDots(buf: Uint8Array, from: number, to: number): boolean {
  return buf[from] === dot && (to - from === 1 || (to - from === 2 && buf[from + 1] === dot));
}

function isInstance(buf: Uint8Array, from: number, to: number): boolean {
  if (to - from < 1 || to - from > 64) return false;
  for (let i = from; i < to; i++) if (((classOf[buf[i] as number] as number) & inInstance) === 0) return false;
  return true;
}

const inDomain = 1;
const inSegment = 2;
const inInstance = 4;
const classOf = new Uint8Array(256);
for (let c = 0; c < 256; c++) {
  const char = String.fromCharCode(c);
  classOf[c] =
    (/[a-z0-9._-]/.test(char) ? inDomain : 0) |
    (/[A-Za-z0-9._-]/.test(char) ? inSegment : 0) |
    (/[A-Za-z0-9_-]/.test(char) ? inInstance : 0);
}
