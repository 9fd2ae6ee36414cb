/**
 * Certificates of the profile: root, issuing certificate, leaf, and the self-signed one of an applicant. What is issued
 * here is read back with the parser of this room before it leaves, so that nothing is signed that nobody accepts.
 */
import { type AgentId, asUnixMs, type Domain, isCausewayError, refuse } from "@causeway/core-base";
import { writeAttributes } from "./attributes.ts";
import { type Certificate, keyIdentifier, parseCertificate } from "./certificate.ts";
import { type CertificateContent, encodeCertificate, type Validity } from "./certificate-builder.ts";
import { commonName, emptyName } from "./distinguished-name.ts";
import {
  authorityKeyId,
  basicConstraints,
  extendedKeyUsage,
  extension,
  keyUsage,
  keyUsageBits,
  subjectAltName,
  subjectKeyId,
} from "./extensions.ts";
import { constrainedName, permitUriHost } from "./name-constraints.ts";
import { oids, purposeIds } from "./oids.ts";
import type { CryptoPort, Purpose, Role, SigningKey } from "./ports.ts";
import { parsePublicKey } from "./public-key.ts";
import type { CertifiedGateway } from "./verified-peer.ts";

/** A certificate that may issue, with its key. */
export interface Issuer {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly key: SigningKey;
}

/** What a leaf certificate certifies. */
export interface LeafProfile extends Validity {
  readonly spki: Uint8Array;
  readonly spiffeId: AgentId;
  readonly role: Role;
  readonly purpose: Purpose;
  /** Needed exactly when the role is gateway. */
  readonly gateway?: CertifiedGateway;
  /** DNS names and IP addresses; purpose tls only. */
  readonly hosts?: readonly string[];
}

/** A leaf certificate and its serial number. */
export interface IssuedLeaf {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly serial: Uint8Array;
}

/** Self-signed root of a domain, DER. */
export function createRoot(
  crypto: CryptoPort,
  options: Validity & { readonly domain: Domain; readonly key: SigningKey },
): Uint8Array {
  const name = commonName(`Root of ${options.domain}`);
  const id = keyIdentifier(crypto, parsePublicKey(options.key.spki));
  return build(options.key, {
    serial: newSerial(crypto),
    issuer: name,
    subject: name,
    validity: options,
    spki: options.key.spki,
    extensions: [basicConstraints(true, 1), caKeyUsage(), subjectKeyId(id)],
  }).der;
}

/** Issuing certificate of a domain: no further CA below it, URI names of the domain only. DER. */
export function createIssuing(
  crypto: CryptoPort,
  root: Issuer,
  options: Validity & { readonly domain: Domain; readonly spki: Uint8Array },
): Uint8Array {
  const above = parseCertificate(root.certificate);
  const id = keyIdentifier(crypto, parsePublicKey(options.spki));
  return build(root.key, {
    serial: newSerial(crypto),
    issuer: above.subject,
    subject: commonName(`Issuing of ${options.domain}`),
    validity: cutTo(options, above),
    spki: options.spki,
    extensions: [
      basicConstraints(true, 0),
      caKeyUsage(),
      extension(oids.nameConstraints, true, permitUriHost(options.domain)),
      subjectKeyId(id),
      ...authorityKeyOf(crypto, above),
    ],
  }).der;
}

/** Leaf certificate. `notAfter` is cut to that of the issuer. Throws `CAUSEWAY_MISUSE` for what breaks the profile. */
export function issueLeaf(crypto: CryptoPort, issuer: Issuer, profile: LeafProfile): IssuedLeaf {
  const above = parseCertificate(issuer.certificate);
  if ((profile.gateway !== undefined) !== (profile.role === "gateway")) {
    throw refuse("CAUSEWAY_MISUSE", "a gateway and nobody else needs gateway attributes");
  }
  const hosts = profile.purpose === "tls" ? (profile.hosts ?? []) : [];
  const attributes = { role: profile.role, ...(profile.gateway && { gateway: profile.gateway }) };
  const leaf = build(issuer.key, {
    serial: newSerial(crypto),
    issuer: above.subject,
    subject: emptyName,
    validity: cutTo(profile, above),
    spki: profile.spki,
    extensions: [
      basicConstraints(false),
      keyUsage(keyUsageBits.digitalSignature),
      extendedKeyUsage(...purposeIds[profile.purpose]),
      subjectAltName(profile.spiffeId, hosts),
      subjectKeyId(keyIdentifier(crypto, parsePublicKey(profile.spki))),
      ...authorityKeyOf(crypto, above),
      extension(oids.attributes, false, writeAttributes(attributes)),
    ],
  });
  const constraints = above.extensions.nameConstraints;
  const name = constraints && constrainedName(constraints, leaf.extensions.altNames);
  if (name !== undefined)
    throw refuse("CAUSEWAY_MISUSE", `the issuing certificate may not certify the name ${JSON.stringify(name)}`);
  return { certificate: leaf.der, serial: leaf.serial };
}

/** Self-signed certificate with which an applicant connects to the authority; it shows nothing but the key. DER. */
export function createApplicantCertificate(crypto: CryptoPort, key: SigningKey, validity: Validity): Uint8Array {
  const name = commonName("applicant");
  return build(key, {
    serial: newSerial(crypto),
    issuer: name,
    subject: name,
    validity,
    spki: key.spki,
    extensions: [basicConstraints(false), keyUsage(keyUsageBits.digitalSignature), extendedKeyUsage(...purposeIds.tls)],
  }).der;
}

/** Builds and reads back; what the own parser would refuse is a misuse by the caller. */
function build(key: SigningKey, content: CertificateContent): Certificate {
  try {
    return parseCertificate(encodeCertificate(key, content));
  } catch (thrown) {
    if (isCausewayError(thrown) && thrown.code !== "CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED") throw thrown;
    const why = thrown instanceof Error ? thrown.message : "unknown reason";
    throw refuse("CAUSEWAY_MISUSE", `the certificate cannot be issued: ${why}`, { cause: thrown });
  }
}

/** RFC 5280 section 4.1.2.2: positive, at most 20 bytes; 16 random ones cannot collide or be guessed. */
function newSerial(crypto: CryptoPort): Uint8Array {
  const serial = crypto.randomBytes(16).slice();
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

const caKeyUsage = (): Uint8Array =>
  keyUsage(keyUsageBits.digitalSignature, keyUsageBits.keyCertSign, keyUsageBits.crlSign);

const authorityKeyOf = (crypto: CryptoPort, issuer: Certificate): readonly Uint8Array[] => [
  authorityKeyId(issuer.extensions.subjectKeyId ?? keyIdentifier(crypto, issuer.key)),
];

const cutTo = (wanted: Validity, issuer: Certificate): Validity => ({
  notBefore: wanted.notBefore,
  notAfter: asUnixMs(Math.min(wanted.notAfter, issuer.notAfter)),
});
