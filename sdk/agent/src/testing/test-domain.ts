/** A certificate authority in memory: issues real certificates, revokes them, and tells everyone at once. */
import { create } from "@bufbuild/protobuf";
import { generateKeyPair, type KeyPair, keyTypeOf, nodeCrypto } from "@causeway/adapter-keys";
import {
  type AgentId,
  asUnixMs,
  type Domain,
  parseAgentId,
  parseDomain,
  parseGatewayUri,
  type UnixMs,
} from "@causeway/core-base";
import {
  createCrl,
  createIssuing,
  createRoot,
  encodePem,
  type Issuer,
  issueLeaf,
  type Purpose,
  purposes,
  type Role,
  type Signer,
} from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";

/** Keys and certificates of one name. */
export interface TestIdentity {
  readonly spiffeId: AgentId;
  readonly role: Role;
  signer(purpose: Purpose): Signer;
  readonly mlsKey: KeyPair;
  /** For real connections: PKCS#8 and chain as PEM. */
  tls(): { readonly key: string; readonly chainPem: string };
  readonly serials: readonly Uint8Array[];
}

export class TestDomain {
  readonly name: Domain;
  readonly #now: () => UnixMs;
  readonly #rootKey = generateKeyPair("p256");
  readonly #issuingKey = generateKeyPair("p256");
  readonly #root: Issuer;
  readonly #issuing: Issuer;
  readonly #revoked: { serial: Uint8Array; at: UnixMs; reason: 1 }[] = [];
  #crlNumber = 1n;

  constructor(name: string, now: () => UnixMs) {
    this.name = parseDomain(name);
    this.#now = now;
    const validity = { notBefore: asUnixMs(now() - dayMs), notAfter: asUnixMs(now() + 3650 * dayMs) };
    const root = createRoot(nodeCrypto, { ...validity, domain: this.name, key: this.#rootKey });
    this.#root = { certificate: root, key: this.#rootKey };
    const issuing = createIssuing(nodeCrypto, this.#root, {
      ...validity,
      domain: this.name,
      spki: this.#issuingKey.spki,
    });
    this.#issuing = { certificate: issuing, key: this.#issuingKey };
  }

  /** Makes keys and certifies them; with `renews` the MLS key stays the same, as at a renewal. */
  issue(spiffeId: string, role: Role = "agent", renews?: TestIdentity): TestIdentity {
    const id = parseAgentId(spiffeId);
    const signers = new Map<Purpose, Signer>();
    const keys = new Map<Purpose, KeyPair>();
    const serials: Uint8Array[] = [];
    for (const purpose of purposes) {
      const key = (purpose === "mls" && renews?.mlsKey) || generateKeyPair(keyTypeOf[purpose]);
      const { certificate, serial } = issueLeaf(nodeCrypto, this.#issuing, {
        spki: key.spki,
        spiffeId: id,
        role,
        purpose,
        notBefore: asUnixMs(this.#now() - 60_000),
        notAfter: asUnixMs(this.#now() + dayMs),
        ...(role === "gateway" && {
          gateway: {
            uri: parseGatewayUri(`https://${id.split("/").at(-1)}.${this.name}/amsp`),
            level: 1,
            namespaces: [],
          },
        }),
      });
      keys.set(purpose, key);
      serials.push(serial);
      signers.set(purpose, {
        spki: key.spki,
        chain: [certificate, this.#issuing.certificate],
        sign: (message) => key.sign(message),
      });
    }
    return {
      spiffeId: id,
      role,
      serials,
      signer: (purpose) => signers.get(purpose) as Signer,
      mlsKey: keys.get("mls") as KeyPair,
      tls: () => ({
        key: (keys.get("tls") as KeyPair).exportPem(),
        chainPem: (signers.get("tls") as Signer).chain.map((der) => encodePem("CERTIFICATE", der)).join(""),
      }),
    };
  }

  /** Revokes every certificate of an identity. Takes effect where the bundle is taken over. */
  revoke(identity: TestIdentity): void {
    for (const serial of identity.serials) this.#revoked.push({ serial, at: this.#now(), reason: 1 });
    this.#crlNumber++;
  }

  /** What others need to judge certificates of this domain. */
  bundle(): aca.TrustBundle {
    const now = this.#now();
    const lists = {
      thisUpdate: asUnixMs(now - 1_000),
      nextUpdate: asUnixMs(now + 365 * dayMs),
      number: this.#crlNumber,
    };
    return create(aca.TrustBundleSchema, {
      domain: this.name,
      roots: [this.#root.certificate],
      intermediates: [this.#issuing.certificate],
      crls: [
        createCrl(this.#root, { ...lists, revoked: [] }),
        createCrl(this.#issuing, { ...lists, revoked: this.#revoked }),
      ],
    });
  }
}

const dayMs = 86_400_000;
