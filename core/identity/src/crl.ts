/**
 * Certificate revocation lists (RFC 5280 section 5), full and delta. Every CA of a domain, the root included, publishes
 * one: a missing list is treated like a stale one. Reading judges form and algorithms; `isCrlIssuedBy` judges the signature.
 */
import type { UnixMs } from "@causeway/core-base";
import { readTime, writeTime } from "./asn1-time.ts";
import { equalBytes, toHex } from "./bytes.ts";
import { type Certificate, parseCertificate, readSerial } from "./certificate.ts";
import { contextConstructed, DerError, DerReader, tags } from "./der-reader.ts";
import { integer, sequence, unsigned } from "./der-writer.ts";
import { readName } from "./distinguished-name.ts";
import {
  authorityKeyId,
  extension,
  extensionsField,
  keyUsageBits,
  type RawExtension,
  readAuthorityKeyId,
  readExtensionList,
} from "./extensions.ts";
import type { Issuer } from "./issue.ts";
import { oids } from "./oids.ts";
import type { CryptoPort } from "./ports.ts";
import { acceptAlgorithm, contentOf, isSignedBy, parsing, readSigned, type Signed, sign } from "./signed.ts";

/**
 * CRLReason of RFC 5280: 0 unspecified, 1 keyCompromise, 2 cACompromise, 3 affiliationChanged, 4 superseded,
 * 5 cessationOfOperation, 6 certificateHold, 8 removeFromCRL (delta only), 9 privilegeWithdrawn, 10 aACompromise.
 */
export type RevocationReasonCode = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 8 | 9 | 10;

/** One revoked certificate. */
export interface RevokedEntry {
  readonly serial: Uint8Array;
  readonly at: UnixMs;
  readonly reason: RevocationReasonCode;
}

/** What a CRL says. */
export interface CrlContent {
  /** Grows with each list of one issuer. */
  readonly number: bigint;
  readonly thisUpdate: UnixMs;
  readonly nextUpdate: UnixMs;
  readonly revoked: readonly RevokedEntry[];
  /** Present on a delta list: the number of the full list that it builds on. */
  readonly baseNumber?: bigint;
}

/** A list whose form was checked. Serial numbers are hexadecimal. */
export interface Crl {
  readonly issuer: Uint8Array;
  readonly authorityKeyId?: Uint8Array;
  readonly number: bigint;
  readonly baseNumber?: bigint;
  readonly thisUpdate: UnixMs;
  readonly nextUpdate: UnixMs;
  readonly revoked: ReadonlyMap<string, { readonly at: UnixMs; readonly reason: RevocationReasonCode }>;
  readonly signed: Signed;
}

/** Signs a list, DER. */
export function createCrl(issuer: Issuer, content: CrlContent): Uint8Array {
  const certificate = parseCertificate(issuer.certificate);
  const entries = content.revoked.map(({ serial, at, reason }) => {
    // RFC 5280: the reason unspecified is said by leaving the extension out.
    const reasons = reason === 0 ? [] : [sequence(extension(oids.reasonCode, false, integer(reason, tags.enumerated)))];
    return sequence(unsigned(serial), writeTime(at), ...reasons);
  });
  const keyId = certificate.extensions.subjectKeyId;
  const extensions = [
    ...(keyId === undefined ? [] : [authorityKeyId(keyId)]),
    extension(oids.crlNumber, false, integer(content.number)),
    ...(content.baseNumber === undefined ? [] : [extension(oids.deltaCrlIndicator, true, integer(content.baseNumber))]),
  ];
  return sign(issuer.key, (algorithm) =>
    sequence(
      integer(1),
      algorithm,
      certificate.subject,
      writeTime(content.thisUpdate),
      writeTime(content.nextUpdate),
      ...(entries.length === 0 ? [] : [sequence(...entries)]),
      extensionsField(0, extensions),
    ),
  );
}

/** Reads a list. Throws `CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED` or `CAUSEWAY_IDENTITY_KEY_REFUSED`. */
export function parseCrl(der: Uint8Array): Crl {
  return parsing("CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED", "a revocation list", () => {
    const signed = readSigned(der, crlBytesMax);
    const v = contentOf(signed);
    if (v.small() !== 1) throw new DerError("it is not of version 2");
    if (!equalBytes(v.whole(tags.sequence), signed.algorithm))
      throw new DerError("its two signature algorithms differ");
    acceptAlgorithm(signed.algorithm);
    const issuer = readName(v);
    const thisUpdate = readTime(v);
    const nextUpdate = readTime(v);
    const revoked = readEntries(v.enterOptional(tags.sequence));
    const field = v.enterOptional(contextConstructed(0));
    if (field === undefined) throw new DerError("it has no extensions");
    const extensions = readExtensionList(field.enter(tags.sequence));
    field.end();
    v.end();
    return { issuer, thisUpdate, nextUpdate, revoked, signed, ...readCrlExtensions(extensions) };
  });
}

/** True when `issuer` may sign lists and signed this one. */
export function isCrlIssuedBy(crypto: CryptoPort, crl: Crl, issuer: Certificate): boolean {
  const wanted = crl.authorityKeyId;
  const found = issuer.extensions.subjectKeyId;
  if (!equalBytes(crl.issuer, issuer.subject)) return false;
  if (wanted !== undefined && found !== undefined && !equalBytes(wanted, found)) return false;
  if (!issuer.extensions.keyUsage?.has(keyUsageBits.crlSign)) return false;
  return isSignedBy(crypto, crl.signed, issuer.key);
}

function readEntries(list: DerReader | undefined): Crl["revoked"] {
  const out = new Map<string, { readonly at: UnixMs; readonly reason: RevocationReasonCode }>();
  // RFC 5280 section 5.1.2.6: without entries the field is left out.
  if (list?.done) throw new DerError("its list of entries is empty");
  while (list !== undefined && !list.done) {
    const entry = list.enter(tags.sequence);
    const serial = toHex(readSerial(entry));
    const at = readTime(entry);
    const extensions = entry.enterOptional(tags.sequence);
    entry.end();
    out.set(serial, { at, reason: extensions === undefined ? 0 : readReason(extensions) });
  }
  return out;
}

function readReason(list: DerReader): RevocationReasonCode {
  let reason: RevocationReasonCode = 0;
  for (const { id, critical, value } of readExtensionList(list)) {
    if (id === oids.reasonCode.hex) {
      const reader = new DerReader(value);
      const code = reader.small(tags.enumerated);
      reader.end();
      const known = reasonCodes.find((r) => r === code);
      if (known === undefined) throw new DerError(`the reason ${code} does not exist`);
      reason = known;
    } else if (critical) throw new DerError(`an entry has the unknown critical extension ${id}`);
  }
  return reason;
}

function readCrlExtensions(extensions: readonly RawExtension[]): Pick<Crl, "authorityKeyId" | "number" | "baseNumber"> {
  const out: { authorityKeyId?: Uint8Array; number?: bigint; baseNumber?: bigint } = {};
  for (const { id, critical, value } of extensions) {
    if (id === oids.crlNumber.hex) out.number = readNumber(value);
    else if (id === oids.deltaCrlIndicator.hex) out.baseNumber = readNumber(value);
    else if (id === oids.authorityKeyId.hex) {
      const keyId = readAuthorityKeyId(value);
      if (keyId !== undefined) out.authorityKeyId = keyId;
    } else if (critical) {
      // Among them the issuing distribution point: a list for a part of the certificates must not pass as a whole one.
      throw new DerError(`it has the unknown critical extension ${id}`);
    }
  }
  if (out.number === undefined) throw new DerError("it has no number");
  return { ...out, number: out.number };
}

function readNumber(value: Uint8Array): bigint {
  const reader = new DerReader(value);
  const bytes = reader.unsigned();
  reader.end();
  if (bytes.length > 20) throw new DerError("its number has more than 20 bytes");
  return BigInt(`0x${toHex(bytes)}`);
}

const reasonCodes: readonly RevocationReasonCode[] = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10];

/** Longest revocation list in bytes: about 100,000 entries. */
const crlBytesMax = 4_194_304;
