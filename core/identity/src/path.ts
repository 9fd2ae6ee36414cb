/**
 * Path validation (RFC 5280 section 6, X.509-SVID): from a leaf to a root of the leaf's own domain. What is decided here
 * never changes with time: signatures, CA flags, path lengths, key usages, name constraints, unknown critical
 * extensions. Validity times and revocation change, so they are judged at every use, by the trust store.
 */
import { type AgentId, type CausewayError, isCausewayError, parseAgentId, refuse } from "@causeway/core-base";
import { equalBytes } from "./bytes.ts";
import { type Certificate, fingerprintOf, isIssuedBy, isSelfIssued, parseCertificate } from "./certificate.ts";
import { keyUsageBits } from "./extensions.ts";
import { constrainedName } from "./name-constraints.ts";
import { oids, purposeIds } from "./oids.ts";
import { type CryptoPort, type Purpose, purposes, type Role } from "./ports.ts";
import { isSignedBy } from "./signed.ts";
import type { CertifiedGateway } from "./verified-peer.ts";

/** What a leaf of the profile says about itself, before anything vouches for it. */
export interface LeafClaims {
  readonly certificate: Certificate;
  readonly spiffeId: AgentId;
  readonly role: Role;
  readonly purpose: Purpose;
  readonly gateway?: CertifiedGateway;
}

/** A leaf with the certificates that vouch for it. */
export interface ProvenPath {
  /** From the leaf's issuer up to the certificate below the root. Empty when the root issued the leaf itself. */
  readonly issuers: readonly Certificate[];
  readonly root: Certificate;
  /** Fingerprint of the root. */
  readonly rootId: string;
}

/** A presented chain that has a leaf and not too many others, none of them read yet. */
export function boundedChain(chain: readonly Uint8Array[]): readonly [Uint8Array, ...Uint8Array[]] {
  const [first, ...rest] = chain;
  if (first === undefined) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING",
      "expected a certificate chain, got none; present the certificate of the identity",
    );
  }
  if (chain.length > chainCertificatesMax) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED",
      `expected at most ${chainCertificatesMax} certificates in a chain, got ${chain.length}`,
    );
  }
  return [first, ...rest];
}

/** Reads the profile of a leaf. Throws the codes for self-signed and malformed. */
export function readLeaf(crypto: CryptoPort, certificate: Certificate): LeafClaims {
  const { extensions } = certificate;
  if (isSelfIssued(certificate) && isSignedBy(crypto, certificate.signed, certificate.key)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
      "expected a certificate of a domain's authority, got a self-signed one; enrol first",
    );
  }
  if (extensions.unknownCritical.length > 0)
    throw broken(`a leaf has unknown critical extensions ${extensions.unknownCritical.join(", ")}`);
  if (extensions.nameConstraints !== undefined || extensions.basicConstraints?.ca)
    throw broken("a leaf must not be a CA");
  const usage = extensions.keyUsage;
  if (
    !usage?.has(keyUsageBits.digitalSignature) ||
    usage.has(keyUsageBits.keyCertSign) ||
    usage.has(keyUsageBits.crlSign)
  ) {
    throw broken("a leaf has the key usage digital signature and neither certificate nor list signing");
  }
  const { attributes } = extensions;
  if (attributes === undefined) throw broken("the extension that certifies the role is missing");
  return { certificate, spiffeId: spiffeIdOf(certificate), purpose: purposeOf(certificate), ...attributes };
}

/**
 * Finds and proves the path from the leaf to one of `roots`. `presented` are the other certificates of the chain in
 * order; where they end, `intermediates` are tried. Throws `CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED` or `…_MALFORMED`.
 */
export function provePath(
  crypto: CryptoPort,
  leaf: LeafClaims,
  presented: readonly Certificate[],
  roots: readonly Certificate[],
  intermediates: readonly Certificate[],
): ProvenPath {
  // A peer may send its root as the last certificate, also certified by another one; that says nothing and is left out.
  const end = presented.at(-1);
  const isRootSent = end !== undefined && roots.some((root) => isSameCa(root, end));
  const issuers: Certificate[] = [];
  let current = leaf.certificate;
  for (const issuer of isRootSent ? presented.slice(0, -1) : presented) {
    if (!isIssuedBy(crypto, current, issuer))
      throw untrusted("a certificate of the chain is not issued by the next one");
    issuers.push(issuer);
    current = issuer;
  }
  for (;;) {
    const below = current;
    const root = roots.find((candidate) => isIssuedBy(crypto, below, candidate));
    if (root !== undefined) {
      checkPathRules(leaf, issuers, root);
      return { issuers, root, rootId: fingerprintOf(crypto, root.der) };
    }
    const next = intermediates.find((candidate) => isIssuedBy(crypto, below, candidate));
    if (next === undefined || issuers.length >= chainCertificatesMax) {
      throw untrusted("the chain does not end in a root of the domain's trust bundle");
    }
    issuers.push(next);
    current = next;
  }
}

/**
 * True when a path that was proven for another leaf proves this one too. Only the leaf's own signature is checked, and
 * whether the path may certify such a leaf.
 */
export function isOnPath(crypto: CryptoPort, leaf: LeafClaims, { issuers, root }: ProvenPath): boolean {
  if (!isIssuedBy(crypto, leaf.certificate, issuers[0] ?? root)) return false;
  try {
    checkPathRules(leaf, issuers, root);
    return true;
  } catch (thrown) {
    if (isCausewayError(thrown)) return false;
    throw thrown;
  }
}

const isSameCa = (a: Certificate, b: Certificate): boolean =>
  equalBytes(a.subject, b.subject) && equalBytes(a.key.spki, b.key.spki);

/** Checks what makes a certificate a trust anchor: self-signed, a CA, not more than we understand. */
export function readRoot(crypto: CryptoPort, der: Uint8Array): Certificate {
  const root = parseCertificate(der);
  if (!isIssuedBy(crypto, root, root)) throw untrusted("a root is not signed by itself");
  checkCa(root, 0);
  return root;
}

/** Most certificates in a presented chain, the leaf included. */
export const chainCertificatesMax = 4;

function checkPathRules(leaf: LeafClaims, issuers: readonly Certificate[], root: Certificate): void {
  const path = [leaf.certificate, ...issuers, root];
  for (const [index, ca] of path.entries()) {
    if (index === 0) continue;
    checkCa(ca, path.slice(1, index).filter((below) => !isSelfIssued(below)).length);
    const usages = ca.extensions.extendedKeyUsage;
    if (usages !== undefined && !usages.includes(oids.anyExtendedKeyUsage.hex)) {
      if (!purposeIds[leaf.purpose].every((id) => usages.includes(id.hex)))
        throw untrusted(`an issuer may not certify for the purpose ${leaf.purpose}`);
    }
    const { nameConstraints } = ca.extensions;
    if (nameConstraints === undefined) continue;
    for (const below of path.slice(0, index)) {
      const name = constrainedName(nameConstraints, below.extensions.altNames);
      if (name !== undefined) throw untrusted(`an issuer may not certify the name ${JSON.stringify(name)}`);
    }
  }
}

function checkCa(ca: Certificate, casBelow: number): void {
  const { basicConstraints, keyUsage, nameConstraints, unknownCritical } = ca.extensions;
  if (unknownCritical.length > 0)
    throw broken(`an issuer has unknown critical extensions ${unknownCritical.join(", ")}`);
  if (!basicConstraints?.ca || !basicConstraints.critical) throw untrusted("an issuer in the chain is not a CA");
  if (basicConstraints.pathLength !== undefined && casBelow > basicConstraints.pathLength) {
    throw untrusted(`the chain has ${casBelow} CAs below one that allows ${basicConstraints.pathLength}`);
  }
  if (!keyUsage?.has(keyUsageBits.keyCertSign)) throw untrusted("an issuer in the chain may not sign certificates");
  if (nameConstraints !== undefined && !nameConstraints.critical) throw broken("name constraints have to be critical");
}

function spiffeIdOf(certificate: Certificate): AgentId {
  const uris = certificate.extensions.altNames?.uris ?? [];
  const [uri] = uris;
  if (uri === undefined || uris.length !== 1)
    throw broken(`a leaf has exactly one URI name, this one has ${uris.length}`);
  if (!uri.startsWith("spiffe://"))
    throw broken(`the URI name is not a SPIFFE ID: ${JSON.stringify(uri.slice(0, 100))}`);
  try {
    return parseAgentId(uri);
  } catch (thrown) {
    throw isCausewayError(thrown) ? broken(thrown.message) : thrown;
  }
}

function purposeOf(certificate: Certificate): Purpose {
  const usages = certificate.extensions.extendedKeyUsage ?? [];
  const found = purposes.filter((purpose) => purposeIds[purpose].some((id) => usages.includes(id.hex)));
  const [purpose] = found;
  if (purpose === undefined || found.length !== 1 || !purposeIds[purpose].every((id) => usages.includes(id.hex))) {
    throw broken("the extended key usage has to name exactly one purpose: connections, MLS leaf or record signing");
  }
  return purpose;
}

const broken = (why: string): CausewayError =>
  refuse("CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED", `expected a certificate of the profile: ${why}`);

const untrusted = (why: string): CausewayError =>
  refuse(
    "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
    `the certificate is not trusted: ${why}; enrol at the domain's authority`,
  );
