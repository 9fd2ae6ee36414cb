/**
 * Extensions of the profile (RFC 5280 section 4.2, X.509-SVID): written in one way, read strictly. An extension that is
 * not known here and is critical is reported, so that the verifier refuses the certificate; one that is not critical is
 * ignored. Duplicates are refused.
 */

import { refuse } from "@causeway/core-base";
import { type Attributes, readAttributes } from "./attributes.ts";
import { toHex } from "./bytes.ts";
import { contextPrimitive, DerError, DerReader, readOnly, tags } from "./der-reader.ts";
import { ascii, boolean, integer, namedBits, octetString, sequence, tagged, taggedPrimitive } from "./der-writer.ts";
import { ipText, isDnsName, parseIp } from "./ip-address.ts";
import { type NameConstraints, readNameConstraints } from "./name-constraints.ts";
import { type Oid, oids } from "./oids.ts";

/** Bits of KeyUsage. */
export const keyUsageBits = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const;

/** Alternative names by type. */
export interface AltNames {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ips: readonly Uint8Array[];
  /** True when there are names of other types. */
  readonly others: boolean;
}

/** What the extensions of a certificate say. */
export interface Extensions {
  readonly basicConstraints?: { readonly ca: boolean; readonly pathLength?: number; readonly critical: boolean };
  readonly keyUsage?: ReadonlySet<number>;
  /** Object identifiers, hexadecimal. */
  readonly extendedKeyUsage?: readonly string[];
  readonly altNames?: AltNames;
  readonly nameConstraints?: NameConstraints & { readonly critical: boolean };
  readonly subjectKeyId?: Uint8Array;
  readonly authorityKeyId?: Uint8Array;
  readonly attributes?: Attributes;
  /** Critical extensions that this room does not know, hexadecimal identifiers. */
  readonly unknownCritical: readonly string[];
}

/** An extension before its value is looked at. */
export interface RawExtension {
  /** Identifier, hexadecimal. */
  readonly id: string;
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** Reads `SEQUENCE OF Extension`, refusing duplicates. */
export function readExtensionList(list: DerReader): readonly RawExtension[] {
  const out: RawExtension[] = [];
  while (!list.done) {
    const item = list.enter(tags.sequence);
    const id = toHex(item.oid());
    const critical = item.peek() === tags.boolean;
    if (critical && !item.boolean()) throw new DerError("an extension writes its default criticality");
    const value = item.content(tags.octetString);
    item.end();
    if (out.some((other) => other.id === id)) throw new DerError(`the extension ${id} stands twice`);
    if (out.length >= extensionsMax) throw new DerError(`more than ${extensionsMax} extensions`);
    out.push({ id, critical, value });
  }
  if (out.length === 0) throw new DerError("the list of extensions is empty");
  return out;
}

/** Reads the extensions of a certificate or a certificate request. */
export function readExtensions(list: DerReader): Extensions {
  const out: { -readonly [K in keyof Extensions]: Extensions[K] } & { unknownCritical: string[] } = {
    unknownCritical: [],
  };
  for (const { id, critical, value } of readExtensionList(list)) {
    switch (id) {
      case oids.basicConstraints.hex:
        out.basicConstraints = readOnly(value, tags.sequence, (v) => {
          const ca = v.peek() === tags.boolean;
          if (ca && !v.boolean()) throw new DerError("basic constraints write a default");
          if (v.done) return { ca, critical };
          if (!ca) throw new DerError("a path length without CA");
          return { ca, critical, pathLength: v.small() };
        });
        break;
      case oids.keyUsage.hex: {
        const reader = readerOf(value);
        out.keyUsage = reader.namedBits(9);
        reader.end();
        break;
      }
      case oids.extendedKeyUsage.hex:
        out.extendedKeyUsage = readOnly(value, tags.sequence, (v) => readList(v, () => toHex(v.oid())));
        break;
      case oids.subjectAltName.hex:
        out.altNames = readOnly(value, tags.sequence, readAltNames);
        break;
      case oids.nameConstraints.hex:
        out.nameConstraints = { ...readOnly(value, tags.sequence, readNameConstraints), critical };
        break;
      case oids.subjectKeyId.hex: {
        const reader = readerOf(value);
        out.subjectKeyId = reader.content(tags.octetString);
        reader.end();
        break;
      }
      case oids.authorityKeyId.hex: {
        const id = readAuthorityKeyId(value);
        if (id !== undefined) out.authorityKeyId = id;
        break;
      }
      case oids.attributes.hex:
        out.attributes = readAttributes(value);
        break;
      default:
        if (critical) out.unknownCritical.push(id);
    }
  }
  return out;
}

/** Key identifier of an AuthorityKeyIdentifier; undefined when it only names issuer and serial. */
export function readAuthorityKeyId(value: Uint8Array): Uint8Array | undefined {
  return readOnly(value, tags.sequence, (v) => {
    const id = v.peek() === contextPrimitive(0) ? v.content(contextPrimitive(0)) : undefined;
    v.rest();
    return id;
  });
}

/** One extension, encoded. */
export const extension = (id: Oid, critical: boolean, value: Uint8Array): Uint8Array =>
  critical ? sequence(id.der, boolean(true), octetString(value)) : sequence(id.der, octetString(value));

/** Basic constraints; always critical in the profile. */
export function basicConstraints(ca: boolean, pathLength?: number): Uint8Array {
  const content = ca ? [boolean(true), ...(pathLength === undefined ? [] : [integer(pathLength)])] : [];
  return extension(oids.basicConstraints, true, sequence(...content));
}

/** Key usage; always critical. */
export const keyUsage = (...bits: readonly number[]): Uint8Array => extension(oids.keyUsage, true, namedBits(...bits));

/** Extended key usage. */
export const extendedKeyUsage = (...ids: readonly Oid[]): Uint8Array =>
  extension(oids.extendedKeyUsage, false, sequence(...ids.map((id) => id.der)));

/** Alternative names: one URI and any number of hosts. Critical, since leaves have an empty subject. */
export function subjectAltName(uri: string, hosts: readonly string[]): Uint8Array {
  const names = hosts.map((host) => {
    const ip = parseIp(host);
    if (ip !== undefined) return taggedPrimitive(7, ip);
    if (!isDnsName(host)) {
      throw refuse(
        "CAUSEWAY_MISUSE",
        `expected a DNS name in lower case or an IP address, got ${JSON.stringify(host)}`,
      );
    }
    return ascii(contextPrimitive(2), host);
  });
  return extension(oids.subjectAltName, true, sequence(ascii(contextPrimitive(6), uri), ...names));
}

/** Subject key identifier. */
export const subjectKeyId = (id: Uint8Array): Uint8Array => extension(oids.subjectKeyId, false, octetString(id));

/** Authority key identifier. */
export const authorityKeyId = (id: Uint8Array): Uint8Array =>
  extension(oids.authorityKeyId, false, sequence(taggedPrimitive(0, id)));

/** The field `[3] EXPLICIT Extensions` of a certificate; `[0]` of a CRL. */
export const extensionsField = (number: number, extensions: readonly Uint8Array[]): Uint8Array =>
  tagged(number, sequence(...extensions));

/** Hosts of alternative names, as texts. */
export function hostsOf(names: AltNames | undefined): readonly string[] {
  return names === undefined ? [] : [...names.dnsNames, ...names.ips.map(ipText)];
}

function readAltNames(v: DerReader): AltNames {
  const uris: string[] = [];
  const dnsNames: string[] = [];
  const ips: Uint8Array[] = [];
  let others = false;
  let count = 0;
  while (!v.done) {
    if (++count > altNamesMax) throw new DerError(`more than ${altNamesMax} alternative names`);
    const tag = v.peek();
    if (tag === contextPrimitive(6)) uris.push(v.ascii(contextPrimitive(6)));
    else if (tag === contextPrimitive(2)) dnsNames.push(v.ascii(contextPrimitive(2)));
    else if (tag === contextPrimitive(7)) {
      const ip = v.content(contextPrimitive(7));
      if (ip.length !== 4 && ip.length !== 16) throw new DerError("an IP address has 4 or 16 bytes");
      ips.push(ip);
    } else {
      v.any();
      others = true;
    }
  }
  if (count === 0) throw new DerError("the list of alternative names is empty");
  return { uris, dnsNames, ips, others };
}

function readList<T>(v: DerReader, read: () => T): readonly T[] {
  const out: T[] = [];
  while (!v.done) out.push(read());
  if (out.length === 0) throw new DerError("the list is empty");
  return out;
}

const readerOf = (value: Uint8Array): DerReader => new DerReader(value);

/** Most extensions of one certificate. */
const extensionsMax = 32;
/** Most alternative names of one certificate. */
const altNamesMax = 64;
