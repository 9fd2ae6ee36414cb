/**
 * X.509 certificates (RFC 5280), read into their parts. Reading judges form and algorithms only: whether a certificate
 * is trusted, valid now, or fit for a purpose is decided by the path, revocation and trust rooms of this folder.
 */
import type { UnixMs } from "@causeway/core-base";
import { refuse } from "@causeway/core-base";
import { readTime } from "./asn1-time.ts";
import { equalBytes, toKeptHex } from "./bytes.ts";
import { contextConstructed, DerError, type DerReader, tags } from "./der-reader.ts";
import { isEmptyName, readName } from "./distinguished-name.ts";
import { type Extensions, readExtensions } from "./extensions.ts";
import type { CryptoPort } from "./ports.ts";
import { type PublicKey, parsePublicKey } from "./public-key.ts";
import { acceptAlgorithm, contentOf, isSignedBy, parsing, readSigned, type Signed } from "./signed.ts";

/** A certificate in its parts. Form and algorithms are checked, nothing else. */
export interface Certificate {
  readonly der: Uint8Array;
  readonly serial: Uint8Array;
  /** Name, encoded. */
  readonly issuer: Uint8Array;
  /** Name, encoded. */
  readonly subject: Uint8Array;
  readonly notBefore: UnixMs;
  readonly notAfter: UnixMs;
  readonly key: PublicKey;
  readonly extensions: Extensions;
  readonly signed: Signed;
}

/**
 * Reads a certificate. Throws `CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED`, or `CAUSEWAY_IDENTITY_KEY_REFUSED` for a key or
 * a signature algorithm that is not accepted.
 */
export function parseCertificate(der: Uint8Array): Certificate {
  return parsing("CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED", "an X.509 certificate", () => {
    const signed = readSigned(der, certificateBytesMax);
    const v = contentOf(signed);
    const version = v.enterOptional(contextConstructed(0));
    if (version?.small() !== 2) throw new DerError("it is not of version 3");
    version.end();
    const serial = readSerial(v);
    if (!equalBytes(v.whole(tags.sequence), signed.algorithm))
      throw new DerError("its two signature algorithms differ");
    acceptAlgorithm(signed.algorithm);
    const issuer = readName(v);
    if (isEmptyName(issuer)) throw new DerError("its issuer is empty");
    const validity = v.enter(tags.sequence);
    const notBefore = readTime(validity);
    const notAfter = readTime(validity);
    validity.end();
    if (notBefore > notAfter) throw new DerError("it ends before it begins");
    const subject = readName(v);
    const key = parsePublicKey(v.whole(tags.sequence));
    const field = v.enterOptional(contextConstructed(3));
    if (field === undefined) throw new DerError("it has no extensions");
    const extensions = readExtensions(field.enter(tags.sequence));
    field.end();
    v.end();
    return { der, serial, issuer, subject, notBefore, notAfter, key, extensions, signed };
  });
}

/** Reads a serial number: positive, at most 20 bytes. */
export function readSerial(v: DerReader): Uint8Array {
  const serial = v.unsigned();
  if (serial.length > 20 || (serial.length === 1 && serial[0] === 0))
    throw new DerError("the serial number is not positive or too long");
  return serial;
}

/** True when `issuer` signed `certificate`, judged by name, key identifier and signature. */
export function isIssuedBy(crypto: CryptoPort, certificate: Certificate, issuer: Certificate): boolean {
  const wanted = certificate.extensions.authorityKeyId;
  const found = issuer.extensions.subjectKeyId;
  if (!equalBytes(certificate.issuer, issuer.subject)) return false;
  if (wanted !== undefined && found !== undefined && !equalBytes(wanted, found)) return false;
  return isSignedBy(crypto, certificate.signed, issuer.key);
}

/** True when the certificate names itself as its issuer. */
export const isSelfIssued = (certificate: Certificate): boolean => equalBytes(certificate.issuer, certificate.subject);

/** Key identifier of the profile: the first 20 bytes of SHA-256 of the key (RFC 7093, method 1). */
export const keyIdentifier = (crypto: CryptoPort, key: PublicKey): Uint8Array => crypto.sha256(key.bits).slice(0, 20);

/** SHA-256 of the certificate, hexadecimal. */
export const fingerprintOf = (crypto: CryptoPort, der: Uint8Array): string => toKeptHex(crypto.sha256(der));

/** Key of an applicant's self-signed certificate. It certifies nothing; the signature only shows that it is whole. */
export function applicantKeyOf(crypto: CryptoPort, der: Uint8Array): Uint8Array {
  const certificate = parseCertificate(der);
  if (!isSelfIssued(certificate) || !isSignedBy(crypto, certificate.signed, certificate.key)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
      "expected a self-signed certificate of an applicant, found one of another issuer",
    );
  }
  return certificate.key.spki;
}

/** Longest certificate in bytes. Ours have about 700. */
export const certificateBytesMax = 16_384;
