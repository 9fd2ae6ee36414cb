/**
 * Trust bundles of the own and of other domains, and the one place that judges certificate chains. A chain is judged by
 * the bundle of the domain that its SPIFFE ID names, and by no other: a root of one domain never vouches for a name of
 * another (ANA-9). Proven paths are remembered, so that a record signed by a known key costs one signature check; times
 * and revocations are judged at every call.
 */
import {
  BoundedMap,
  type Domain,
  domainOf,
  isCausewayError,
  parseDomain,
  refuse,
  type UnixMs,
} from "@causeway/core-base";
import type { aca } from "@causeway/core-wire";
import { type Above, Anchors } from "./anchors.ts";
import { timeText } from "./asn1-time.ts";
import { toKeptHex } from "./bytes.ts";
import { type Certificate, fingerprintOf, keyIdentifier, parseCertificate } from "./certificate.ts";
import { boundedChain, type LeafClaims, type ProvenPath, provePath, readLeaf, readRoot } from "./path.ts";
import type { CryptoPort, Purpose, Role } from "./ports.ts";
import { Revocations } from "./revocation.ts";
import { makeVerifiedPeer, type VerifiedPeer } from "./verified-peer.ts";

/** What a chain has to satisfy. */
export interface VerifyOptions {
  readonly now: UnixMs;
  /**
   * When the certificates have to be valid, for a signature that outlives them; default `now`. Revocation is judged at
   * `now` all the same.
   */
  readonly signedAt?: UnixMs;
  readonly purpose: Purpose;
  /** Accepted roles; any when left out. */
  readonly roles?: readonly Role[];
}

/** What can judge a chain: a `TrustStore`, or `pinnedTrust` during the enrolment. */
export interface PeerVerifier {
  /** The identity that the chain proves. Throws one of the `CAUSEWAY_IDENTITY_*` codes. */
  verifyChain(chain: readonly Uint8Array[], options: VerifyOptions): VerifiedPeer;
  /** DER roots of every trusted domain. */
  roots(): readonly Uint8Array[];
}

/** A part of a trust state that cannot be used. What depends on it is refused. */
export interface TrustProblem {
  readonly domain: string;
  readonly message: string;
}

/** Judges chains by the trust state of the own authority. Trusts nobody until the first `replace`. */
export class TrustStore implements PeerVerifier {
  readonly #crypto: CryptoPort;
  /** By the fingerprint of the leaf. */
  readonly #proven = new BoundedMap<Proven>(provenPathsMax);
  readonly #paths = new WeakMap<VerifiedPeer, ProvenPath>();
  #sequence = 0n;
  #bundles: ReadonlyMap<string, Bundle> = new Map();

  constructor(crypto: CryptoPort) {
    this.#crypto = crypto;
  }

  /** Sequence of the state that is held; 0 before the first one. */
  get sequence(): bigint {
    return this.#sequence;
  }

  /**
   * Takes over a trust state as a whole. A bundle that cannot be used is left out, so that its domain is not trusted,
   * and told in the result; the others count. Revocation lists are never replaced by older ones.
   */
  replace(state: aca.TrustState): readonly TrustProblem[] {
    const problems: TrustProblem[] = [];
    const bundles = new Map<string, Bundle>();
    for (const bundle of state.bundles) {
      try {
        const domain = parseDomain(bundle.domain);
        if (bundles.has(domain))
          throw refuse("CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED", "the trust state has two bundles for the domain");
        bundles.set(domain, this.#read(domain, bundle));
      } catch (thrown) {
        if (!isCausewayError(thrown)) throw thrown;
        problems.push({ domain: bundle.domain, message: thrown.message });
      }
    }
    this.#bundles = bundles;
    this.#sequence = state.sequence;
    return problems;
  }

  /** Domains with a usable bundle. */
  domains(): readonly Domain[] {
    return [...this.#bundles.values()].map((bundle) => bundle.domain);
  }

  /** DER roots of every trusted domain. */
  roots(): readonly Uint8Array[] {
    return [...this.#bundles.values()].flatMap((bundle) => [...bundle.anchors.roots.values()].map((root) => root.der));
  }

  /**
   * The identity that the chain (DER, leaf first) proves. Throws `CAUSEWAY_IDENTITY_CERTIFICATE_MISSING`, `…_MALFORMED`,
   * `…_SELF_SIGNED`, `…_UNTRUSTED`, `…_EXPIRED`, `…_REVOKED`, or `CAUSEWAY_IDENTITY_KEY_REFUSED`, `…_DOMAIN_UNTRUSTED`,
   * `…_CRL_STALE`, `…_ROLE_WRONG`.
   */
  verifyChain(chain: readonly Uint8Array[], options: VerifyOptions): VerifiedPeer {
    return this.#verify(chain, options, checkStaleness);
  }

  /**
   * Judges whoever brings newer revocation lists: as `verifyChain`, but lists that are stale do not refuse, since without
   * this nobody could get out of that state again. What the lists held say is still believed.
   */
  forLists(): PeerVerifier {
    return {
      verifyChain: (chain, options) => this.#verify(chain, options, () => undefined),
      roots: () => this.roots(),
    };
  }

  #verify(chain: readonly Uint8Array[], options: VerifyOptions, checkLists: typeof checkStaleness): VerifiedPeer {
    const {
      peer,
      above: { path },
    } = this.#prove(chain);
    const bundle = this.#bundleOf(peer.domain);
    checkValidity([peer, ...path.issuers, path.root], options.signedAt ?? options.now);
    checkRevocation(bundle.revocations, peer.serial, path);
    checkLists(bundle.revocations, path, options.now);
    checkUse(peer, options);
    return peer;
  }

  /**
   * True when the peer may no longer be talked to: its certificate or one above it is on a revocation list, or its root
   * is no longer in the bundle of its domain. Expiry is not looked at.
   */
  isRevoked(peer: VerifiedPeer): boolean {
    const path = this.#paths.get(peer);
    const bundle = this.#bundles.get(peer.domain);
    if (path === undefined || bundle === undefined || !bundle.anchors.roots.has(path.rootId)) return true;
    return revokedLevel(bundle.revocations, peer.serial, path) !== undefined;
  }

  #prove(chain: readonly Uint8Array[]): Proven {
    const [first, ...presented] = boundedChain(chain);
    const fingerprint = fingerprintOf(this.#crypto, first);
    const name = presented.map((der) => fingerprintOf(this.#crypto, der)).join();
    const known = this.#proven.get(fingerprint);
    // Another chain of the same leaf may have another path, as it may with other anchors.
    if (known?.above.name === name && this.#bundleOf(known.peer.domain).anchors === known.above.anchors) return known;
    const leaf = readLeaf(this.#crypto, parseCertificate(first));
    const above = this.#bundleOf(domainOf(leaf.spiffeId)).anchors.prove(leaf, presented, name);
    const proven = { peer: makePeer(this.#crypto, leaf, fingerprint, above.path), above };
    this.#paths.set(proven.peer, above.path);
    this.#proven.set(fingerprint, proven);
    return proven;
  }

  #bundleOf(domain: Domain): Bundle {
    const bundle = this.#bundles.get(domain);
    if (bundle !== undefined) return bundle;
    throw refuse(
      "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED",
      `no trust bundle is held for the domain ${domain}; an operator has to add it at the own authority`,
      { details: { domain } },
    );
  }

  #read(domain: Domain, bundle: aca.TrustBundle): Bundle {
    if (bundle.roots.length === 0) throw refuse("CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED", "the trust bundle has no root");
    const before = this.#bundles.get(domain);
    return {
      domain,
      anchors: before?.anchors.isOf(bundle) ? before.anchors : new Anchors(this.#crypto, bundle),
      revocations: new Revocations(this.#crypto, bundle.crls, before?.revocations),
    };
  }
}

/**
 * Judges by one root whose fingerprint came with the join token, for the connection of an enrolment: everything but
 * revocation, of which an applicant cannot know yet. The trust state that the enrolment returns takes its place.
 */
export function pinnedTrust(crypto: CryptoPort, root: Uint8Array): PeerVerifier {
  const anchor = readRoot(crypto, root);
  return {
    roots: () => [anchor.der],
    verifyChain(chain, options) {
      const [first, ...presented] = boundedChain(chain);
      const certificate = parseCertificate(first);
      const leaf = readLeaf(crypto, certificate);
      const path = provePath(crypto, leaf, presented.map(parseCertificate), [anchor], []);
      checkValidity([certificate, ...path.issuers, path.root], options.signedAt ?? options.now);
      checkUse(leaf, options);
      return makePeer(crypto, leaf, fingerprintOf(crypto, first), path);
    },
  };
}

interface Bundle {
  readonly domain: Domain;
  readonly anchors: Anchors;
  readonly revocations: Revocations;
}

/** What is remembered of a chain: nothing of the certificate itself, since there are as many of them as agents. */
interface Proven {
  readonly peer: VerifiedPeer;
  readonly above: Above;
}

function makePeer(crypto: CryptoPort, leaf: LeafClaims, fingerprint: string, path: ProvenPath): VerifiedPeer {
  const { certificate } = leaf;
  const issuer = path.issuers[0] ?? path.root;
  return makeVerifiedPeer({
    spiffeId: leaf.spiffeId,
    domain: domainOf(leaf.spiffeId),
    role: leaf.role,
    purpose: leaf.purpose,
    ...(leaf.gateway && { gateway: leaf.gateway }),
    // Copies, since a view would keep the whole certificate for as long as the connection stands.
    serial: new Uint8Array(certificate.serial),
    issuerKeyId: toKeptHex(issuer.extensions.subjectKeyId ?? keyIdentifier(crypto, issuer.key)),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    fingerprint,
    spki: new Uint8Array(certificate.key.spki),
  });
}

function checkValidity(path: readonly Pick<Certificate, "notBefore" | "notAfter">[], now: UnixMs): void {
  for (const [level, { notBefore, notAfter }] of path.entries()) {
    if (now >= notBefore && now <= notAfter) continue;
    const what = level === 0 ? "the certificate" : "a certificate above it";
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
      `${what} is valid from ${timeText(notBefore)} to ${timeText(notAfter)} and it is ${timeText(now)}; renew it, or check the clock`,
    );
  }
}

function checkRevocation(revocations: Revocations, serial: Uint8Array, path: ProvenPath): void {
  const revoked = revokedLevel(revocations, serial, path);
  if (revoked !== undefined) {
    const what = revoked.level === 0 ? "the certificate" : "a certificate above it";
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
      `${what} was revoked at ${timeText(revoked.at)} (RFC 5280 reason ${revoked.reason}); enrol again`,
      { details: { reason: String(revoked.reason) } },
    );
  }
}

function checkStaleness(revocations: Revocations, path: ProvenPath, now: UnixMs): void {
  for (const ca of [...path.issuers, path.root]) {
    const why = revocations.staleness(ca, now);
    if (why !== undefined)
      throw refuse("CAUSEWAY_IDENTITY_CRL_STALE", `${why}; the domain's authority has to be reachable`);
  }
}

function revokedLevel(revocations: Revocations, serial: Uint8Array, path: ProvenPath) {
  const cas = [...path.issuers, path.root];
  const serials = [serial, ...path.issuers.map((issuer) => issuer.serial)];
  for (const [level, ca] of cas.entries()) {
    const found = revocations.find(ca, serials[level] ?? serial);
    if (found !== undefined) return { level, ...found };
  }
  return undefined;
}

function checkUse(leaf: Pick<LeafClaims, "spiffeId" | "purpose" | "role">, { purpose, roles }: VerifyOptions): void {
  if (leaf.purpose !== purpose) {
    throw refuse("CAUSEWAY_IDENTITY_ROLE_WRONG", `expected a certificate for ${purpose}, got one for ${leaf.purpose}`);
  }
  if (roles !== undefined && !roles.includes(leaf.role)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_ROLE_WRONG",
      `expected the certified role ${roles.join(" or ")}, ${leaf.spiffeId} has the role ${leaf.role}`,
      {
        details: { role: leaf.role },
      },
    );
  }
}

/** Most proven paths that are remembered; the oldest is forgotten first and proven again when it comes back. */
const provenPathsMax = 10_000;
