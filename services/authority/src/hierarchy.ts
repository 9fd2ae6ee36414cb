/**
 * Root and issuing certificate of the domain and their CRLs. The first start makes all of them; later starts read them.
 * The root's key is asked for only here.
 */
import {
  type AuthorityDocument,
  type AuthorityStore,
  asUnixMs,
  refuse,
  type Scheduler,
  type StoredCertificate,
  type UnixMs,
} from "@causeway/core-base";
import {
  type CryptoPort,
  createCrl,
  createIssuing,
  createRoot,
  type Issuer,
  type RevokedEntry,
  type SigningKey,
  type Validity,
} from "@causeway/core-identity";
import { fromHex, hashHex } from "./bytes.ts";
import type { AuthoritySettings } from "./config.ts";
import type { AuthorityPorts, CaKeys } from "./ports.ts";
import { asReasonCode } from "./reasons.ts";

/** The CA certificates of the domain. */
export class Hierarchy {
  readonly root: Uint8Array;
  /** Hex SHA-256 of the root. */
  readonly rootFingerprint: string;
  readonly #settings: AuthoritySettings;
  readonly #store: AuthorityStore;
  readonly #crypto: CryptoPort;
  readonly #scheduler: Scheduler;
  readonly #keys: CaKeys;
  #issuing: Uint8Array;

  private constructor(settings: AuthoritySettings, ports: AuthorityPorts, root: Uint8Array, issuing: Uint8Array) {
    this.#settings = settings;
    this.#store = ports.store;
    this.#crypto = ports.crypto;
    this.#scheduler = ports.scheduler;
    this.#keys = ports.keys;
    this.root = root;
    this.rootFingerprint = hashHex(ports.crypto, root);
    this.#issuing = issuing;
  }

  /** Reads the certificates, or makes them on the first start. */
  static async open(settings: AuthoritySettings, ports: AuthorityPorts): Promise<Hierarchy> {
    const { store } = ports;
    const root = store.document("root.der");
    const issuing = store.document("issuing.der");
    if (root && issuing) return new Hierarchy(settings, ports, root, issuing);
    if (root || issuing) {
      throw refuse(
        "CAUSEWAY_STORE_FAILED",
        "the store holds only one of root and issuing certificate; restore it from a copy",
      );
    }
    return Hierarchy.#create(settings, ports);
  }

  static async #create(settings: AuthoritySettings, ports: AuthorityPorts): Promise<Hierarchy> {
    const { crypto, keys, store, scheduler } = ports;
    const now = scheduler.now().unix;
    const { domain } = settings;
    const rootKey = await keys.root();
    const root = createRoot(crypto, { domain, key: rootKey, ...validity(now, settings.rootLifetimeMs) });
    const issuing = createIssuing(
      crypto,
      { certificate: root, key: rootKey },
      { domain, spki: keys.issuing.spki, ...validity(now, settings.issuingLifetimeMs) },
    );
    const hierarchy = new Hierarchy(settings, ports, root, issuing);
    const rootCrl = hierarchy.#crl({ certificate: root, key: rootKey }, 1n, []);
    store.transaction(() => {
      store.putDocument("root.der", root);
      store.putDocument("issuing.der", issuing);
      store.putDocument("root.crl", rootCrl);
      writeNumber(store, "issuing-expires", BigInt(now + settings.issuingLifetimeMs));
      writeNumber(store, "crl-number", 1n);
      hierarchy.#keepCrlTimes();
      hierarchy.reissueCrl();
      store.appendAudit({
        atUnixMs: now,
        action: "authority.created",
        actor: "local",
        subject: domain,
        facts: `root ${hierarchy.rootFingerprint}`,
      });
    });
    return hierarchy;
  }

  /** Who signs leaves. */
  get issuer(): Issuer {
    return { certificate: this.#issuing, key: this.#keys.issuing };
  }

  get issuingCertificate(): Uint8Array {
    return this.#issuing;
  }

  /** Root's CRL first, then the issuing certificate's. */
  crls(): Uint8Array[] {
    const [root, issuing] = [this.#store.document("root.crl"), this.#store.document("issuing.crl")];
    if (!root || !issuing) throw refuse("CAUSEWAY_STORE_FAILED", "the store has lost a CRL; restore it from a copy");
    return [root, issuing];
  }

  /** Makes the issuing CRL anew from the store. Part of the transaction of the revocation that it publishes. */
  reissueCrl(): void {
    const now = this.#scheduler.now().unix;
    // Signatures of records outlive their certificates, so a record key that was revoked in time stays on the list.
    const isListed = (c: StoredCertificate): boolean =>
      c.notAfterUnixMs >= now || (c.purpose === "record" && (c.revokedUnixMs ?? 0) <= c.notAfterUnixMs);
    const revoked = this.#store
      .revokedCertificates(asUnixMs(now - this.#settings.archiveMs))
      .filter(isListed)
      .map(
        (c): RevokedEntry => ({
          serial: fromHex(c.serial),
          at: asUnixMs(c.revokedUnixMs ?? 0),
          reason: asReasonCode(c.revokedReason),
        }),
      );
    this.#store.putDocument("issuing.crl", this.#crl(this.issuer, this.#nextCrlNumber(), revoked));
  }

  /**
   * On schedule, inside a transaction: a new root CRL, and a new issuing certificate over the same key when a third of
   * its life is left. Chains that hold the old one stay valid.
   */
  renewUpper(rootKey: SigningKey): void {
    const { domain, issuingLifetimeMs } = this.#settings;
    const rootIssuer = { certificate: this.root, key: rootKey };
    const now = this.#scheduler.now().unix;
    if (Number(readNumber(this.#store, "issuing-expires")) - now < issuingLifetimeMs / 3) {
      const spki = this.#keys.issuing.spki;
      this.#issuing = createIssuing(this.#crypto, rootIssuer, { domain, spki, ...validity(now, issuingLifetimeMs) });
      this.#store.putDocument("issuing.der", this.#issuing);
      writeNumber(this.#store, "issuing-expires", BigInt(now + issuingLifetimeMs));
    }
    this.#store.putDocument("root.crl", this.#crl(rootIssuer, this.#nextCrlNumber(), []));
    this.#keepCrlTimes();
  }

  /**
   * True when a third of the lifetime with which the CRLs were made is over, also because the authority was switched
   * off, and when they were made with another lifetime than the configured one: a longer one would outlast them.
   */
  get isUpkeepDue(): boolean {
    const lifetimeMs = Number(readNumber(this.#store, "crl-lifetime"));
    const ageMs = this.#scheduler.now().unix - Number(readNumber(this.#store, "crl-made"));
    return lifetimeMs !== this.#settings.crlLifetimeMs || ageMs >= lifetimeMs / 3;
  }

  /** The root's key, for `renewUpper`. */
  rootKey(): Promise<SigningKey> {
    return this.#keys.root();
  }

  /** When the root CRL was made and for how long: it is the older one of the two. */
  #keepCrlTimes(): void {
    writeNumber(this.#store, "crl-made", BigInt(this.#scheduler.now().unix));
    writeNumber(this.#store, "crl-lifetime", BigInt(this.#settings.crlLifetimeMs));
  }

  #nextCrlNumber(): bigint {
    const number = readNumber(this.#store, "crl-number") + 1n;
    writeNumber(this.#store, "crl-number", number);
    return number;
  }

  #crl(issuer: Issuer, number: bigint, revoked: readonly RevokedEntry[]): Uint8Array {
    const thisUpdate = this.#scheduler.now().unix;
    const nextUpdate = asUnixMs(thisUpdate + this.#settings.crlLifetimeMs);
    return createCrl(issuer, { number, thisUpdate, nextUpdate, revoked });
  }
}

/** A number kept as decimal text; 0 when there is none. */
export function readNumber(store: AuthorityStore, name: AuthorityDocument): bigint {
  const bytes = store.document(name);
  return bytes ? BigInt(new TextDecoder().decode(bytes)) : 0n;
}

/** Keeps a number as decimal text. */
export function writeNumber(store: AuthorityStore, name: AuthorityDocument, value: bigint): void {
  store.putDocument(name, new TextEncoder().encode(value.toString()));
}

/** Backdated by a minute, so that a receiver whose clock is behind accepts it at once. In whole seconds, as in X.509. */
export function validity(now: UnixMs, lifetimeMs: number): Validity {
  const seconds = (ms: number) => asUnixMs(Math.floor(ms / 1_000) * 1_000);
  return { notBefore: seconds(now - backdateMs), notAfter: seconds(now + lifetimeMs) };
}

const backdateMs = 60_000;
