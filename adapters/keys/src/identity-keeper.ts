/**
 * Keeps one identity alive: enrols when there is none, renews it at two thirds of its lifetime, and follows the
 * authority's trust state. Identity and trust state are on disk, so that a start does not need the authority.
 */
import {
  type AgentId,
  type CausewayError,
  type Domain,
  isCausewayError,
  type Log,
  type Random,
  refuse,
  type Scheduler,
  silentLog,
} from "@causeway/core-base";
import { type CryptoPort, type Purpose, TrustStore } from "@causeway/core-identity";
import type { aca } from "@causeway/core-wire";
import type { Client } from "@connectrpc/connect";
import { type Enrolled, type Enrolment, enrol } from "./enrolment.ts";
import { type Identity, isMarkedRevoked, loadIdentity, loadTrust } from "./identity.ts";
import type { KeyVault } from "./key-vault.ts";
import { restoreLapsed } from "./lapsed.ts";
import type { ConnectAuthority, FetchRoot } from "./network.ts";
import { nodeCrypto } from "./node-crypto.ts";
import { expiryOf, type KeeperSettings, RunningKeeper } from "./running-keeper.ts";

/** What went wrong without ending the keeper. */
export interface KeeperAlarm {
  readonly kind: "renewal-failed" | "expires-soon" | "expired" | "watch-lost" | "revoked";
  readonly error?: CausewayError;
  readonly expiresUnixMs: number;
}

/** Options of `openIdentityKeeper`. */
export interface IdentityKeeperOptions {
  readonly vault: KeyVault;
  readonly connect: ConnectAuthority;
  /** Needed to enrol, and to bring back an identity that has expired. */
  readonly fetchRoot?: FetchRoot;
  /** Used when the vault holds no identity; without it that is an error. */
  readonly enrolment?: Enrolment;
  readonly crypto?: CryptoPort;
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** Purposes whose key is replaced at renewal. Default tls and record; the MLS leaf key stays the same. */
  readonly rotate?: readonly Purpose[];
  /** How often an open application is polled. Default 2,000. */
  readonly pollMs?: number;
  /** Called with the application's id when an operator has to decide. */
  readonly onPending?: (applicationId: string) => void;
  readonly log?: Log;
  /** Ends an enrolment that waits; later the keeper itself. */
  readonly signal?: AbortSignal;
}

/** Keeps one identity alive: renews it at 2/3 of its lifetime and follows the authority's trust state. */
export interface IdentityKeeper extends AsyncDisposable {
  readonly spiffeId: AgentId;
  readonly domain: Domain;
  /** The current keys and chains. */
  readonly identity: Identity;
  /** Bundles and revocations, updated in place at each push. */
  readonly trust: TrustStore;
  /** The authority, called with the current certificate. Read it anew for each call. */
  readonly authority: Client<typeof aca.AuthorityService>;
  /** Fires after `trust` changed. Returns the function that ends it. */
  onTrust(listener: (state: aca.TrustState) => void): () => void;
  /** Fires after `identity` changed. */
  onRenewed(listener: (identity: Identity) => void): () => void;
  onAlarm(listener: (alarm: KeeperAlarm) => void): () => void;
  /** Renews now instead of at 2/3 of the lifetime. Rejects with the authority's refusal. */
  renew(): Promise<void>;
  /** Resolves when the trust state is at least this new. */
  trusted(sequence: bigint, signal?: AbortSignal): Promise<void>;
  /** Ends renewal and watching. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Opens the identity in the vault, or enrols when there is none. Resolves when certificate and trust state are at hand:
 * with both on disk it does not need the authority. Throws `CAUSEWAY_IDENTITY_NOT_ENROLLED` without both.
 */
export async function openIdentityKeeper(options: IdentityKeeperOptions): Promise<IdentityKeeper> {
  const settings: KeeperSettings = {
    ...options,
    crypto: options.crypto ?? nodeCrypto,
    rotate: options.rotate ?? ["tls", "record"],
    pollMs: options.pollMs ?? pollMsDefault,
    log: options.log ?? silentLog,
  };
  const keeper = new RunningKeeper(settings, await openOrEnrol(settings));
  keeper.start();
  return keeper;
}

/** What is on disk if it can be used, otherwise an identity restored or made anew. */
async function openOrEnrol(settings: KeeperSettings): Promise<Enrolled> {
  const { vault, enrolment, fetchRoot, scheduler } = settings;
  const held = await loadEnrolled(vault);
  const isExpired = held !== undefined && expiryOf(held.identity) <= scheduler.now().unix;
  const isReplaced = held !== undefined && enrolment !== undefined && (await isRevoked(settings, held));
  if (held && !isExpired && !isReplaced) return held;
  if (!fetchRoot || (!enrolment && !held)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_NOT_ENROLLED",
      `expected a valid identity in ${vault.directory} or a join token, got neither; ask an operator of the domain for a token`,
    );
  }
  const signal = settings.signal ?? new AbortController().signal;
  const common = { ...settings, fetchRoot, signal };
  if (held && isExpired) {
    try {
      return await restoreLapsed(common, held);
    } catch (thrown) {
      // Refused, since it was revoked or is too old: then only a token helps.
      if (!enrolment || !isCausewayError(thrown) || thrown.family !== "refused") throw thrown;
    }
  }
  if (!enrolment) {
    throw refuse("CAUSEWAY_IDENTITY_NOT_ENROLLED", `the identity in ${vault.directory} cannot be used; enrol again`);
  }
  try {
    return await enrol({ ...common, enrolment, ...(held && { replaced: held.identity }) });
  } catch (thrown) {
    // The old token again: the revoked identity is opened all the same, so that it can say what happened.
    if (held && !isExpired && isCausewayError(thrown) && thrown.family === "refused") return held;
    throw thrown;
  }
}

async function loadEnrolled(vault: KeyVault): Promise<Enrolled | undefined> {
  const identity = await loadIdentity(vault);
  const trust = await loadTrust(vault);
  return identity && trust && { identity, trust };
}

/** Revoked by the trust state on disk, or by the authority's own word when it refused us. */
async function isRevoked(
  { vault, crypto, scheduler }: KeeperSettings,
  { identity, trust }: Enrolled,
): Promise<boolean> {
  if (await isMarkedRevoked(vault, identity)) return true;
  const store = new TrustStore(crypto);
  store.replace(trust);
  try {
    store.verifyChain(identity.signer("tls").chain, { now: scheduler.now().unix, purpose: "tls" });
    return false;
  } catch (thrown) {
    return isCausewayError(thrown) && thrown.code === "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED";
  }
}

const pollMsDefault = 2_000;
