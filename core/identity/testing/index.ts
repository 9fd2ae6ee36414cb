/**
 * A whole domain in memory for tests: root, issuing certificate, revocation lists, identities with their three leaves.
 * Everything is made and verified for real, so no test needs a verification that is switched off.
 */
import { create } from "@bufbuild/protobuf";
import {
  type AgentId,
  asUnixMs,
  type Domain,
  parseAgentId,
  parseDomain,
  parseGatewayUri,
  type UnixMs,
} from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import {
  type CertifiedGateway,
  createCrl,
  createIssuing,
  createRoot,
  encodePem,
  type Issuer,
  issueLeaf,
  type Purpose,
  type RevocationReasonCode,
  type RevokedEntry,
  type Role,
  type Signer,
  TrustStore,
  type VerifiedPeer,
} from "../src/index.ts";
import { type TestKey, testCrypto, testKey } from "./crypto.ts";

export { type TestKey, testCrypto, testKey } from "./crypto.ts";

/** Moment at which test domains are made unless told otherwise: 2026-01-01T00:00:00Z. */
export const testNow: UnixMs = asUnixMs(Date.UTC(2026, 0, 1));

const hour = 3_600_000;
const year = 365 * 24 * hour;

/** How an identity is made. */
export interface TestIdentityOptions {
  /** Default agent. */
  readonly role?: Role;
  /** Default for the role gateway: `https://<name>.<domain>/amsp`, level 1, whole domain. */
  readonly gateway?: { readonly uri?: string; readonly level?: 1 | 2; readonly namespaces?: readonly string[] };
  /** DNS names and IP addresses of the tls leaf. Default localhost, 127.0.0.1, ::1. */
  readonly hosts?: readonly string[];
  readonly notBefore?: UnixMs;
  readonly notAfter?: UnixMs;
}

/** A certified identity: three keys, three chains. */
export interface TestIdentity {
  readonly spiffeId: AgentId;
  readonly role: Role;
  readonly keys: Readonly<Record<Purpose, TestKey>>;
  /** Leaf and issuing certificate, DER, and the key. */
  signer(purpose: Purpose): Signer;
  chain(purpose: Purpose): readonly Uint8Array[];
  /** For adapters/tls. `withRoot` as the authority's own server has it. */
  tls(options?: { readonly withRoot?: boolean }): { readonly key: string; readonly chainPem: string };
}

/** A domain's certification in memory. */
export class TestDomain {
  readonly domain: Domain;
  readonly now: UnixMs;
  readonly root: Issuer;
  readonly issuing: Issuer;
  readonly #revoked: RevokedEntry[] = [];
  readonly #revokedByRoot: RevokedEntry[] = [];
  readonly #crlLifetimeMs: number;
  #number = 1n;

  constructor(domain: string, options: { readonly now?: UnixMs; readonly crlLifetimeMs?: number } = {}) {
    this.domain = parseDomain(domain);
    this.now = options.now ?? testNow;
    this.#crlLifetimeMs = options.crlLifetimeMs ?? 24 * hour;
    const rootKey = testKey("P-256");
    const issuingKey = testKey("P-256");
    const notBefore = asUnixMs(this.now - hour);
    const root = createRoot(testCrypto, {
      domain: this.domain,
      key: rootKey,
      notBefore,
      notAfter: asUnixMs(this.now + 10 * year),
    });
    this.root = { certificate: root, key: rootKey };
    const issuing = createIssuing(testCrypto, this.root, {
      domain: this.domain,
      spki: issuingKey.spki,
      notBefore,
      notAfter: asUnixMs(this.now + year),
    });
    this.issuing = { certificate: issuing, key: issuingKey };
  }

  /** Makes an identity; `name` is the path, for example `travel/booker`. */
  identity(name: string, options: TestIdentityOptions = {}): TestIdentity {
    const spiffeId = parseAgentId(`${this.domain}/${name}`);
    const role = options.role ?? "agent";
    const gateway: CertifiedGateway | undefined =
      role === "gateway"
        ? {
            uri: parseGatewayUri(options.gateway?.uri ?? `https://${name.split("/").at(-1)}.${this.domain}/amsp`),
            level: options.gateway?.level ?? 1,
            namespaces: options.gateway?.namespaces ?? [],
          }
        : undefined;
    const keys = { tls: testKey("P-256"), mls: testKey("Ed25519"), record: testKey("Ed25519") };
    const certify = (purpose: Purpose): readonly Uint8Array[] => [
      issueLeaf(testCrypto, this.issuing, {
        spki: keys[purpose].spki,
        spiffeId,
        role,
        purpose,
        ...(gateway && { gateway }),
        hosts: options.hosts ?? ["localhost", "127.0.0.1", "::1"],
        notBefore: options.notBefore ?? asUnixMs(this.now - 60_000),
        notAfter: options.notAfter ?? asUnixMs(this.now + 24 * hour),
      }).certificate,
      this.issuing.certificate,
    ];
    const chains = { tls: certify("tls"), mls: certify("mls"), record: certify("record") };
    return {
      spiffeId,
      role,
      keys,
      chain: (purpose) => chains[purpose],
      signer: (purpose) => ({ ...keys[purpose], chain: chains[purpose] }),
      tls: ({ withRoot = false } = {}) => ({
        key: keys.tls.pem,
        chainPem: encodePem("CERTIFICATE", ...chains.tls, ...(withRoot ? [this.root.certificate] : [])),
      }),
    };
  }

  /** Revokes by serial number; the next `crls()` and `bundle()` have it. */
  revoke(peer: { readonly serial: Uint8Array }, reason: RevocationReasonCode = 1): void {
    this.#revoked.push({ serial: peer.serial, at: this.now, reason });
    this.#number += 1n;
  }

  /** Revokes the issuing certificate. */
  revokeIssuing(serial: Uint8Array): void {
    this.#revokedByRoot.push({ serial, at: this.now, reason: 2 });
    this.#number += 1n;
  }

  /** Lists of the root and of the issuing certificate. */
  crls(): readonly Uint8Array[] {
    const content = {
      number: this.#number,
      thisUpdate: this.now,
      nextUpdate: asUnixMs(this.now + this.#crlLifetimeMs),
    };
    return [
      createCrl(this.root, { ...content, revoked: this.#revokedByRoot }),
      createCrl(this.issuing, { ...content, revoked: this.#revoked }),
    ];
  }

  /** Bundle for a trust state. */
  bundle(): aca.TrustBundle {
    return create(aca.TrustBundleSchema, {
      domain: this.domain,
      roots: [this.root.certificate],
      crls: [...this.crls()],
      intermediates: [this.issuing.certificate],
    });
  }

  /** Trust state with the own bundle first. */
  trustState(...others: readonly TestDomain[]): aca.TrustState {
    return trustStateOf(this, ...others);
  }

  /** Store that trusts this domain and others. */
  store(...others: readonly TestDomain[]): TrustStore {
    const store = new TrustStore(testCrypto);
    store.replace(this.trustState(...others));
    return store;
  }

  /** A verified peer, from a fresh identity that went through the verifier. */
  peer(name: string, options: TestIdentityOptions & { readonly purpose?: Purpose } = {}): VerifiedPeer {
    const purpose = options.purpose ?? "tls";
    return this.store().verifyChain(this.identity(name, options).chain(purpose), { now: this.now, purpose });
  }
}

/** Makes a domain. */
export const createTestDomain = (
  domain: string,
  options: { readonly now?: UnixMs; readonly crlLifetimeMs?: number } = {},
): TestDomain => new TestDomain(domain, options);

let sequence = 0n;

/** Trust state with a growing sequence. */
export function trustStateOf(...domains: readonly TestDomain[]): aca.TrustState {
  sequence += 1n;
  return create(aca.TrustStateSchema, { sequence, bundles: domains.map((d) => d.bundle()) });
}
