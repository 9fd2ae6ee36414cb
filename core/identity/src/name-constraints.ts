/**
 * Name constraints (RFC 5280 section 4.2.1.10) for the name types of the profile: URI, DNS name and IP address. A
 * constraint on another type cannot be judged here, so a certificate that has one is refused as a whole.
 */
import { contextConstructed, contextPrimitive, DerError, type DerReader, tags } from "./der-reader.ts";
import { ascii, sequence, tagged } from "./der-writer.ts";
import type { AltNames } from "./extensions.ts";

/** One constraint. */
export type Subtree =
  | { readonly type: "uri" | "dns"; readonly host: string }
  | { readonly type: "ip"; readonly address: Uint8Array; readonly mask: Uint8Array };

/** Which names a CA may certify. */
export interface NameConstraints {
  readonly permitted: readonly Subtree[];
  readonly excluded: readonly Subtree[];
}

/** Reads the content of the extension. */
export function readNameConstraints(v: DerReader): NameConstraints {
  const permitted = readSubtrees(v.enterOptional(contextConstructed(0)));
  const excluded = readSubtrees(v.enterOptional(contextConstructed(1)));
  if (permitted.length + excluded.length === 0) throw new DerError("the name constraints are empty");
  return { permitted, excluded };
}

/** Value of the extension that permits URI names of one host only. */
export const permitUriHost = (host: string): Uint8Array =>
  sequence(tagged(0, sequence(ascii(contextPrimitive(6), host))));

/** The first name that the constraints do not allow, for the reason; undefined when all are allowed. */
export function constrainedName(constraints: NameConstraints, names: AltNames | undefined): string | undefined {
  if (names === undefined) return undefined;
  const { permitted, excluded } = constraints;
  const check = (type: Subtree["type"], matches: (subtree: Subtree) => boolean): boolean => {
    const own = permitted.filter((subtree) => subtree.type === type);
    return (own.length === 0 || own.some(matches)) && !excluded.some(matches);
  };
  for (const uri of names.uris) {
    const host = uriHost(uri);
    // RFC 5280: a URI without a host can't be judged, so any URI constraint refuses it.
    const constrained = [...permitted, ...excluded].some((subtree) => subtree.type === "uri");
    if (constrained && host === undefined) return uri;
    if (!check("uri", (s) => s.type === "uri" && host !== undefined && uriMatches(s.host, host))) return uri;
  }
  for (const name of names.dnsNames) {
    if (!check("dns", (s) => s.type === "dns" && dnsMatches(s.host, name.toLowerCase()))) return name;
  }
  for (const ip of names.ips) {
    if (!check("ip", (s) => s.type === "ip" && ipMatches(s.address, s.mask, ip))) return [...ip].join(".");
  }
  return undefined;
}

function readSubtrees(list: DerReader | undefined): readonly Subtree[] {
  const out: Subtree[] = [];
  if (list === undefined) return out;
  if (list.done) throw new DerError("a list of name constraints is empty");
  while (!list.done) {
    // Minimum and maximum have to be left out (RFC 5280), which `end` enforces.
    const subtree = list.enter(tags.sequence);
    out.push(readBase(subtree));
    subtree.end();
    if (out.length > subtreesMax) throw new DerError(`more than ${subtreesMax} name constraints`);
  }
  return out;
}

function readBase(v: DerReader): Subtree {
  const tag = v.peek();
  if (tag === contextPrimitive(6)) return { type: "uri", host: v.ascii(contextPrimitive(6)).toLowerCase() };
  if (tag === contextPrimitive(2)) return { type: "dns", host: v.ascii(contextPrimitive(2)).toLowerCase() };
  if (tag === contextPrimitive(7)) {
    const content = v.content(contextPrimitive(7));
    if (content.length !== 8 && content.length !== 32) throw new DerError("an IP constraint has 8 or 32 bytes");
    return { type: "ip", address: content.subarray(0, content.length / 2), mask: content.subarray(content.length / 2) };
  }
  throw new DerError("name constraints other than URI, DNS and IP are not accepted");
}

function uriHost(uri: string): string | undefined {
  return /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#:@[\]]+)(?::\d*)?(?:[/?#]|$)/.exec(uri)?.[1]?.toLowerCase();
}

function uriMatches(constraint: string, host: string): boolean {
  if (constraint === "") return true;
  return constraint.startsWith(".")
    ? host.length > constraint.length && host.endsWith(constraint)
    : host === constraint;
}

function dnsMatches(constraint: string, name: string): boolean {
  if (constraint === "" || name === constraint) return true;
  return name.endsWith(constraint.startsWith(".") ? constraint : `.${constraint}`);
}

function ipMatches(address: Uint8Array, mask: Uint8Array, ip: Uint8Array): boolean {
  return (
    address.length === ip.length &&
    ip.every((byte, i) => (byte & (mask[i] ?? 0)) === ((address[i] ?? 0) & (mask[i] ?? 0)))
  );
}

/** Most constraints of each kind. */
const subtreesMax = 64;
