/**
 * Keys and chains of one SPIFFE ID, in memory and in a vault. In the vault the document `identity` names the key files
 * that belong together; it is replaced last, so that a crash leaves the old identity or the new one, never a mixture.
 */
import { randomBytes, X509Certificate } from "node:crypto";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type AgentId, type Domain, domainOf, parseAgentId, refuse } from "@causeway/core-base";
import {
  encodePem,
  type Purpose,
  parseCertificate,
  purposesOf,
  type Role,
  rolesFor,
  type Signer,
} from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import type { KeyPair } from "./key-pair.ts";
import type { KeyVault } from "./key-vault.ts";
import {
  certificateRequests,
  entriesOf,
  forPurposes,
  generatePurposeKeys,
  type PurposeChains,
  type PurposeKeys,
  wirePurpose,
} from "./purpose-keys.ts";

/** What node:tls needs of an identity. Both are PEM and stay in memory. */
export interface TlsIdentity {
  /** PKCS#8 PEM. */
  readonly key: string;
  /** Leaf first, then the issuing certificate; the root is left out. */
  readonly chainPem: string;
}

/** A TlsIdentity that does not show its key when it is printed or serialised. */
export class TlsCredential implements TlsIdentity {
  readonly chainPem: string;
  readonly #key: KeyPair;

  constructor(key: KeyPair, chainPem: string) {
    this.#key = key;
    this.chainPem = chainPem;
  }

  get key(): string {
    return this.#key.exportPem();
  }
}

/** Validity of one certificate of an identity. */
export interface IdentityValidity {
  readonly purpose: Purpose;
  readonly notBeforeUnixMs: number;
  readonly notAfterUnixMs: number;
  /** Big-endian, without leading zeros. */
  readonly serial: Uint8Array;
}

/** Keys and chains of one SPIFFE ID: an immutable snapshot; renewal makes a new one. */
export class Identity {
  readonly spiffeId: AgentId;
  readonly domain: Domain;
  /** As its certificate says. */
  readonly role: Role;
  /** URL of the authority that issued it. */
  readonly authorityUrl: string;
  readonly #keys: PurposeKeys;
  readonly #chains: PurposeChains;
  readonly #tls: TlsCredential;

  constructor(facts: {
    readonly spiffeId: AgentId;
    readonly authorityUrl: string;
    readonly keys: PurposeKeys;
    readonly chains: PurposeChains;
  }) {
    this.spiffeId = facts.spiffeId;
    this.domain = domainOf(facts.spiffeId);
    this.role = roleOf(facts.chains.tls);
    this.authorityUrl = facts.authorityUrl;
    this.#keys = facts.keys;
    this.#chains = facts.chains;
    this.#tls = new TlsCredential(facts.keys.tls, encodePem("CERTIFICATE", ...facts.chains.tls));
  }

  /** What it has keys and certificates for. */
  get purposes(): readonly Purpose[] {
    return entriesOf(this.#keys).map(([purpose]) => purpose);
  }

  /** Chain and signing for a purpose; the key itself never leaves. Throws for a purpose that the role does not have. */
  signer(purpose: Purpose): Signer {
    const key = this.#key(purpose);
    return { chain: this.#chains[purpose] ?? [], spki: key.spki, sign: (message) => key.sign(message) };
  }

  /** Key and chain for TLS connections. */
  tls(): TlsIdentity {
    return this.#tls;
  }

  /** Raw Ed25519 seed of the MLS leaf key, for the MLS library in this process. Agents have one, nobody else. */
  mlsPrivateKey(): Uint8Array {
    return this.#key("mls").exportSeed();
  }

  /** Validity of the certificate of each purpose. */
  validity(): readonly IdentityValidity[] {
    return this.purposes.map((purpose) => ({ purpose, ...validityOf(this.#chains[purpose] ?? []) }));
  }

  /** The keys, for renewal under the same or partly new ones. */
  keys(): PurposeKeys {
    return this.#keys;
  }

  #key(purpose: Purpose): KeyPair {
    const key = this.#keys[purpose];
    if (key !== undefined) return key;
    throw refuse(
      "CAUSEWAY_IDENTITY_ROLE_WRONG",
      `expected a ${purpose} key of ${this.spiffeId}, whose role ${this.role} has none; use an identity with one of the roles ${rolesFor(purpose).join(", ")}`,
    );
  }
}

/** The role that a chain's leaf is certified for. Only a certificate of the profile has one. */
function roleOf([leaf]: readonly Uint8Array[]): Role {
  const attributes = leaf && parseCertificate(leaf).extensions.attributes;
  if (attributes) return attributes.role;
  throw refuse(
    "CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED",
    `expected a leaf certificate that certifies a role, got ${leaf ? "one without" : "an empty chain"}; enrol again`,
  );
}

/** Joins keys with the certificates that an authority issued for them. Throws when one is missing or for another key. */
export function identityOf(options: {
  readonly spiffeId: AgentId;
  readonly authorityUrl: string;
  readonly keys: PurposeKeys;
  readonly certificates: aca.CertificateSet;
}): Identity {
  const { spiffeId, authorityUrl, keys, certificates } = options;
  const chain = (purpose: Purpose): readonly Uint8Array[] => {
    const issued = certificates.certificates.find((c) => c.purpose === wirePurpose[purpose])?.chain ?? [];
    const leaf = issued[0];
    if (!leaf || !Buffer.from(keys[purpose]?.spki ?? []).equals(publicKeyOf(leaf))) {
      throw refuse(
        "CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED",
        `expected a ${purpose} certificate over our own key, got ${leaf ? "one over another key" : "none"}; the authority answered wrongly`,
      );
    }
    return issued;
  };
  const held = entriesOf(keys).map(([purpose]) => purpose);
  const identity = new Identity({ spiffeId, authorityUrl, keys, chains: forPurposes(held, chain) });
  const due = purposesOf[identity.role];
  if (held.length === due.length && held.every((purpose) => due.includes(purpose))) return identity;
  throw refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    `expected a role with ${held.join(", ")}, for which ${spiffeId} has keys, got ${identity.role} (${due.join(", ")}); ask an operator for a token with the role of this name`,
  );
}

/** Makes keys and an identity in the vault, certified by `issue` (an authority's own identities). */
export async function createIdentity(options: {
  readonly vault: KeyVault;
  readonly spiffeId: AgentId;
  readonly role: Role;
  readonly authorityUrl: string;
  readonly issue: (requests: readonly aca.CertificateRequest[]) => Promise<aca.CertificateSet> | aca.CertificateSet;
}): Promise<Identity> {
  const { vault, spiffeId, role, authorityUrl, issue } = options;
  const keys = generatePurposeKeys(role);
  const certificates = await issue(certificateRequests(spiffeId, keys));
  const identity = identityOf({ spiffeId, authorityUrl, keys, certificates });
  await saveIdentity(vault, identity);
  if (certificates.trust) await saveTrust(vault, certificates.trust);
  return identity;
}

/** Writes an identity; older key files of the vault's previous identity are removed afterwards. */
export async function saveIdentity(vault: KeyVault, identity: Identity): Promise<void> {
  const generation = randomBytes(6).toString("hex");
  const certificates: Record<string, StoredPurpose> = {};
  for (const [purpose, key] of entriesOf(identity.keys())) {
    const name = `key-${purpose}-${generation}`;
    await vault.putKey(name, key);
    const chain = identity.signer(purpose).chain.map((der) => Buffer.from(der).toString("base64"));
    certificates[purpose] = { key: name, chain };
  }
  const document = { version: 1, spiffeId: identity.spiffeId, authorityUrl: identity.authorityUrl, certificates };
  await vault.put(identityName, Buffer.from(JSON.stringify(document)));
  for (const name of await vault.names()) {
    if (name.startsWith("key-") && !name.endsWith(`-${generation}`)) await vault.delete(name);
  }
}

/**
 * Reads the identity of a vault; undefined when there is none. A key of a purpose that the role does not have is left
 * alone: it is not read, not renewed, and gone with the next `saveIdentity`.
 */
export async function loadIdentity(vault: KeyVault): Promise<Identity | undefined> {
  for (let attempt = 1; ; attempt++) {
    const text = await vault.get(identityName);
    if (!text) return undefined;
    const document = parseDocument(vault, text);
    const chain = (purpose: Purpose): readonly Uint8Array[] =>
      (document.certificates[purpose]?.chain ?? []).map((der) => new Uint8Array(Buffer.from(der, "base64")));
    if (!document.certificates["tls"]) throw incomplete(vault, "tls");
    const wanted = purposesOf[roleOf(chain("tls"))];
    const without = wanted.find((purpose) => !document.certificates[purpose]);
    if (without) throw incomplete(vault, without);
    const found = new Map<Purpose, KeyPair | undefined>();
    for (const purpose of wanted)
      found.set(purpose, await vault.getKey(document.certificates[purpose]?.key ?? identityName));
    const missing = wanted.find((purpose) => !found.get(purpose));
    if (!missing) {
      const keys = forPurposes(wanted, (purpose) => found.get(purpose) as KeyPair);
      const { spiffeId, authorityUrl } = document;
      return new Identity({
        spiffeId: parseAgentId(spiffeId),
        authorityUrl,
        keys,
        chains: forPurposes(wanted, chain),
      });
    }
    // Another process may have renewed between the two reads; then the document names other keys now.
    if (attempt === loadAttempts) throw incomplete(vault, missing);
  }
}

/** Keeps the trust state for a start without the authority. It is sealed, since it names the trust anchors. */
export async function saveTrust(vault: KeyVault, state: aca.TrustState): Promise<void> {
  await vault.put(trustName, toBinary(aca.TrustStateSchema, state));
}

/** The last trust state that was kept. */
export async function loadTrust(vault: KeyVault): Promise<aca.TrustState | undefined> {
  const bytes = await vault.get(trustName);
  return bytes && fromBinary(aca.TrustStateSchema, bytes);
}

/** Remembers that the authority called this identity revoked: who is revoked may not read the list that says so. */
export async function markRevoked(vault: KeyVault, identity: Identity): Promise<void> {
  await vault.put(revokedName, identity.signer("tls").spki);
}

/** True when `markRevoked` was called for these very keys. */
export async function isMarkedRevoked(vault: KeyVault, identity: Identity): Promise<boolean> {
  const marked = await vault.get(revokedName);
  return marked !== undefined && Buffer.from(marked).equals(identity.signer("tls").spki);
}

interface StoredPurpose {
  readonly key: string;
  readonly chain: readonly string[];
}

interface StoredIdentity {
  readonly version: 1;
  readonly spiffeId: string;
  readonly authorityUrl: string;
  readonly certificates: Readonly<Partial<Record<string, StoredPurpose>>>;
}

/** The document was sealed by this program, so its form is checked by version only. */
function parseDocument(vault: KeyVault, text: Uint8Array): StoredIdentity {
  const value: unknown = JSON.parse(Buffer.from(text).toString("utf8"));
  if (typeof value === "object" && value !== null && "version" in value && value.version === 1)
    return value as unknown as StoredIdentity;
  throw refuse(
    "CAUSEWAY_UNSUPPORTED",
    `the identity in ${vault.directory} was written by a newer version of this program; use that version`,
  );
}

function incomplete(vault: KeyVault, purpose: Purpose): Error {
  return refuse(
    "CAUSEWAY_KEYS_FILE_TAMPERED",
    `the identity in ${vault.directory} lacks its ${purpose} key or certificate; restore the directory from a copy, or enrol again`,
  );
}

function publicKeyOf(certificate: Uint8Array): Uint8Array {
  return new X509Certificate(certificate).publicKey.export({ format: "der", type: "spki" });
}

function validityOf(chain: readonly Uint8Array[]): Omit<IdentityValidity, "purpose"> {
  const leaf = chain[0];
  if (!leaf)
    throw refuse("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING", "expected a chain with a leaf certificate, got an empty one");
  const certificate = new X509Certificate(leaf);
  return {
    notBeforeUnixMs: certificate.validFromDate.getTime(),
    notAfterUnixMs: certificate.validToDate.getTime(),
    serial: new Uint8Array(Buffer.from(certificate.serialNumber, "hex")),
  };
}

const loadAttempts = 3;
const identityName = "identity";
const trustName = "trust";
const revokedName = "revoked";
