/**
 * Object identifiers of the profile. Readers compare the content bytes in hexadecimal, writers need the encoded value;
 * both come from one dotted form. Ours stand under an arc for which nobody has to register (ADR 31).
 */
import { toHex } from "./bytes.ts";
import { oid } from "./der-writer.ts";
import type { Purpose } from "./ports.ts";

/** An object identifier in the forms that readers and writers need. */
export interface Oid {
  readonly dotted: string;
  /** Content bytes, hexadecimal. */
  readonly hex: string;
  /** Encoded value. */
  readonly der: Uint8Array;
}

const known = (dotted: string): Oid => {
  const der = oid(dotted);
  return { dotted, hex: toHex(der.subarray(2)), der };
};

/** UUID 921d2dcc-da67-4717-83b4-84fe3ee02bcf in parts that fit into 31 bits. */
const causeway = "1.2.840.113556.1.8000.2554.37405.11724.55911.18199.33716.8715838.14691279";

/** Every identifier that the profile uses. */
export const oids = {
  ecPublicKey: known("1.2.840.10045.2.1"),
  p256: known("1.2.840.10045.3.1.7"),
  ed25519: known("1.3.101.112"),
  ecdsaSha256: known("1.2.840.10045.4.3.2"),
  commonName: known("2.5.4.3"),
  subjectKeyId: known("2.5.29.14"),
  keyUsage: known("2.5.29.15"),
  subjectAltName: known("2.5.29.17"),
  basicConstraints: known("2.5.29.19"),
  crlNumber: known("2.5.29.20"),
  reasonCode: known("2.5.29.21"),
  deltaCrlIndicator: known("2.5.29.27"),
  nameConstraints: known("2.5.29.30"),
  authorityKeyId: known("2.5.29.35"),
  extendedKeyUsage: known("2.5.29.37"),
  anyExtendedKeyUsage: known("2.5.29.37.0"),
  serverAuth: known("1.3.6.1.5.5.7.3.1"),
  clientAuth: known("1.3.6.1.5.5.7.3.2"),
  extensionRequest: known("1.2.840.113549.1.9.14"),
  /** Extended key usage: leaf key of MLS. */
  mlsLeaf: known(`${causeway}.1.1`),
  /** Extended key usage: signs records, origins, receipts. */
  recordSigning: known(`${causeway}.1.2`),
  /** Extension: role and gateway attributes. */
  attributes: known(`${causeway}.2.1`),
} as const;

/** Extended key usages of a leaf by purpose. */
export const purposeIds: Readonly<Record<Purpose, readonly Oid[]>> = {
  tls: [oids.serverAuth, oids.clientAuth],
  mls: [oids.mlsLeaf],
  record: [oids.recordSigning],
};
