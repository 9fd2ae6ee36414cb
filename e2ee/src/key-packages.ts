/**
 * Key packages, both sides (AGP-60, BEY-8). Own ones: made with the validity of the leaf certificate, private parts
 * stored, each used once except the last-resort one. Foreign ones: checked for name, signatures, suite, time and
 * earlier use before a group is made with them.
 */
import { type AgentId, refuse, type UnixMs } from "@causeway/core-base";
import type { CredentialJudge } from "./credentials.ts";
import { factsExtensionType } from "./group-facts.ts";
import {
  decodeKeyPackage,
  encodeKeyPackage,
  generateKeyPackageWithKey,
  type KeyPackage,
  makeKeyPackageRef,
  type PrivateKeyPackage,
  verifyKeyPackage,
  verifyLeafNodeSignatureKeyPackage,
} from "./library.ts";
import type { FetchedKeyPackage, MlsSuite } from "./ports.ts";
import { pack, type SealedStore, unpack } from "./sealed-store.ts";
import type { SigningIdentity } from "./signing-identity.ts";
import { capabilities, suiteImpl, suiteOf } from "./suites.ts";

/** Key packages of this agent, for upload, whose private parts are kept; the oldest go first. */
export const keyPackagesMax = 1000;
/** The same of those that were handed to an asker directly: they never displace the ones for upload. */
export const handedKeyPackagesMax = 256;
/** Longest validity of a foreign key package. */
const lifetimeSecondsMax = 90n * 86_400n;
/** Clock difference that is forgiven when a package is not valid yet. */
const skewSeconds = 300n;
/** References of foreign packages remembered as used; the oldest go first. */
const usedMax = 10_000;
/** Extension of a package that may be handed out more than once (RFC 9420 section 16.8 and the extensions draft). */
const lastResortType = 0x000a;

/** What a package is for: `stock` and `lastResort` are uploaded, `handed` is for the one agent that asked for it. */
type KeyPackagePurpose = "stock" | "lastResort" | "handed";

interface Shelved {
  readonly lastResort: boolean;
  readonly isHanded?: boolean;
  readonly notAfter: number;
  readonly made: number;
}

/** A key package of ours that a welcome was made for. */
export interface OwnKeyPackage {
  readonly ref: string;
  readonly lastResort: boolean;
  readonly publicPackage: KeyPackage;
  readonly privatePackage: PrivateKeyPackage;
}

export class KeyPackages {
  readonly #store: SealedStore;
  readonly #judge: CredentialJudge;
  readonly #shelf = new Map<string, Shelved>();
  readonly #used = new Set<string>();
  #made = 0;

  constructor(store: SealedStore, judge: CredentialJudge) {
    this.#store = store;
    this.#judge = judge;
  }

  /** Those for upload. */
  get count(): number {
    return [...this.#shelf.values()].filter(({ isHanded }) => !isHanded).length;
  }

  async load(): Promise<void> {
    for (const key of await this.#store.list("kp/")) {
      const bytes = await this.#store.get(key);
      const [meta] = bytes === undefined ? [] : unpack(bytes);
      if (meta === undefined) continue;
      const shelved = JSON.parse(Buffer.from(meta).toString()) as Shelved;
      this.#made = Math.max(this.#made, shelved.made);
      this.#shelf.set(key.slice("kp/".length), shelved);
    }
  }

  /** Makes one package and stores its private part before it returns the public one. */
  async make(identity: SigningIdentity, suite: MlsSuite, purpose: KeyPackagePurpose): Promise<Uint8Array> {
    const lastResort = purpose === "lastResort";
    const { publicPackage, privatePackage } = await newKeyPackage(identity, suite, lastResort);
    const encoded = encodeKeyPackage(publicPackage);
    const ref = await refOf(publicPackage);
    const shelved: Shelved = {
      lastResort,
      isHanded: purpose === "handed",
      notAfter: Number(identity.notAfter),
      made: ++this.#made,
    };
    await this.#store.put(
      `kp/${ref}`,
      pack([
        Buffer.from(JSON.stringify(shelved)),
        encoded,
        privatePackage.initPrivateKey,
        privatePackage.hpkePrivateKey,
        privatePackage.signaturePrivateKey,
      ]),
      { durable: true },
    );
    this.#shelf.set(ref, shelved);
    return encoded;
  }

  /** The own package that one of these references means. */
  async find(references: readonly Uint8Array[]): Promise<OwnKeyPackage | undefined> {
    for (const reference of references) {
      const ref = Buffer.from(reference).toString("hex");
      const shelved = this.#shelf.get(ref);
      const bytes = shelved === undefined ? undefined : await this.#store.get(`kp/${ref}`);
      if (shelved === undefined || bytes === undefined) continue;
      const [, encoded, initPrivateKey, hpkePrivateKey, signaturePrivateKey] = unpack(bytes);
      const publicPackage = encoded === undefined ? undefined : decodeKeyPackage(encoded, 0)?.[0];
      if (publicPackage === undefined || !initPrivateKey || !hpkePrivateKey || !signaturePrivateKey) {
        throw refuse("CAUSEWAY_E2EE_STATE_CORRUPT", `the stored key package ${ref.slice(0, 8)} cannot be read`);
      }
      return {
        ref,
        lastResort: shelved.lastResort,
        publicPackage,
        privatePackage: { initPrivateKey, hpkePrivateKey, signaturePrivateKey },
      };
    }
    return undefined;
  }

  /** Destroys the private part after the package was used. */
  async use(own: OwnKeyPackage): Promise<void> {
    if (!own.lastResort) await this.#delete(own.ref);
  }

  /** Destroys what is expired, and the oldest above each limit. */
  async sweep(now: UnixMs): Promise<void> {
    for (const [ref, shelved] of [...this.#shelf]) if (shelved.notAfter * 1000 < now) await this.#delete(ref);
    const oldest = [...this.#shelf].sort(([, a], [, b]) => a.made - b.made);
    const handed = oldest.filter(([, { isHanded }]) => isHanded);
    const stock = oldest.filter(([, { isHanded }]) => !isHanded);
    const tooMany = [
      ...handed.slice(0, Math.max(0, handed.length - handedKeyPackagesMax)),
      ...stock.slice(0, Math.max(0, stock.length - keyPackagesMax)),
    ];
    for (const [ref] of tooMany) await this.#delete(ref);
  }

  async clear(): Promise<void> {
    for (const ref of [...this.#shelf.keys()]) await this.#delete(ref);
  }

  /** Judges a foreign package. Throws `CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED` or a `CAUSEWAY_IDENTITY_*` code. */
  async check(fetched: FetchedKeyPackage, agent: AgentId, suite: MlsSuite, now: UnixMs): Promise<KeyPackage> {
    const keyPackage = decodeWhole(fetched.keyPackage);
    if (keyPackage === undefined) throw refused(agent, "it is not a key package");
    const { leafNode } = keyPackage;
    if (keyPackage.version !== "mls10" || keyPackage.cipherSuite !== (await suiteImpl(suite)).name)
      throw refused(agent, `it is not for suite ${suite}`);
    if (leafNode.leafNodeSource !== "key_package") throw refused(agent, "its leaf is not one of a key package");
    const seconds = BigInt(Math.floor(now / 1000));
    const { notBefore, notAfter } = leafNode.lifetime;
    if (seconds >= notAfter || seconds + skewSeconds < notBefore)
      throw refused(agent, "it is expired or not valid yet");
    if (notAfter - notBefore > lifetimeSecondsMax) throw refused(agent, "its lifetime is longer than 90 days");
    const name = this.#judge.nameOf(leafNode);
    if (name !== agent)
      throw refuse("CAUSEWAY_IDENTITY_MISMATCH", `expected a key package of ${agent}, got one of ${name}`);
    const { signature } = await suiteImpl(suite);
    const signed =
      (await verifyLeafNodeSignatureKeyPackage(leafNode, signature)) && (await verifyKeyPackage(keyPackage, signature));
    if (!signed) throw refused(agent, "its signature does not verify");
    const { capabilities: can } = leafNode;
    if (!can.extensions.includes(factsExtensionType) || !can.credentials.includes("x509"))
      throw refused(agent, "its leaf lacks a capability");
    const ref = await refOf(keyPackage);
    const lastResort = keyPackage.extensions.some((each) => each.extensionType === lastResortType);
    if (fetched.lastResort && !lastResort) throw refused(agent, "it was handed out as a last resort and is not one");
    if (!lastResort && this.#used.has(ref)) throw refused(agent, "it was used before");
    return keyPackage;
  }

  /** Remembers that a group was made with a foreign package. */
  async markUsed(keyPackage: KeyPackage): Promise<void> {
    this.#used.add(await refOf(keyPackage));
    const [oldest] = this.#used;
    if (this.#used.size > usedMax && oldest !== undefined) this.#used.delete(oldest);
  }

  async #delete(ref: string): Promise<void> {
    this.#shelf.delete(ref);
    await this.#store.delete(`kp/${ref}`);
  }
}

/** A key package that is not stored: the leaf of a group that this agent creates. */
export function newKeyPackage(identity: SigningIdentity, suite: MlsSuite, lastResort: boolean) {
  return suiteImpl(suite).then((impl) =>
    generateKeyPackageWithKey(
      identity.credential,
      capabilities(),
      { notBefore: identity.notBefore, notAfter: identity.notAfter },
      lastResort ? [{ extensionType: lastResortType, extensionData: new Uint8Array() }] : [],
      { signKey: identity.privateKey, publicKey: identity.publicKey },
      impl,
    ),
  );
}

function decodeWhole(bytes: Uint8Array): KeyPackage | undefined {
  try {
    const decoded = decodeKeyPackage(bytes, 0);
    return decoded?.[1] === bytes.length ? decoded[0] : undefined;
  } catch {
    // The decoder throws on some malformed lengths: it is not a key package.
    return undefined;
  }
}

async function refOf(keyPackage: KeyPackage): Promise<string> {
  const { hash } = await suiteImpl(suiteOf(keyPackage.cipherSuite));
  return Buffer.from(await makeKeyPackageRef(keyPackage, hash)).toString("hex");
}

function refused(agent: AgentId, why: string): Error {
  return refuse("CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED", `the key package of ${agent} cannot be used: ${why}`);
}
