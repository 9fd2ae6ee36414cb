/**
 * Keeps one identity alive: enrols when there is none, renews it at two thirds of its lifetime, and follows the
 * authority's trust state. Identity and trust state are on disk, so that a start does not need the authority.
 */
import { create } from "@bufbuild/protobuf";
import {
  type AgentId,
  type CausewayError,
  type Domain,
  defaults,
  type Log,
  type Random,
  refuse,
  type Scheduler,
  silentLog,
} from "@causeway/core-base";
import { type CryptoPort, type Purpose, purposes, TrustStore } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { type Client, createClient } from "@connectrpc/connect";
import { type Enrolled, type Enrolment, enrol } from "./enrolment.ts";
import {
  certificateRequests,
  type Identity,
  identityOf,
  loadIdentity,
  loadTrust,
  type PurposeKeys,
  saveIdentity,
  saveTrust,
} from "./identity.ts";
import { generateKeyPair, keyTypeOf } from "./key-pair.ts";
import type { KeyVault } from "./key-vault.ts";
import { type AuthorityTransport, type ConnectAuthority, callErrorOf, type FetchRoot } from "./network.ts";
import { nodeCrypto } from "./node-crypto.ts";
import { processRandom, processScheduler } from "./process-clock.ts";
import { Backoff, wait } from "./wait.ts";

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
  /** Default: the clocks and timers of this process. */
  readonly scheduler?: Scheduler;
  readonly random?: Random;
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
  /** Renews now instead of at 2/3 of the lifetime. */
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
  const settings: Settings = {
    ...options,
    crypto: options.crypto ?? nodeCrypto,
    scheduler: options.scheduler ?? processScheduler,
    random: options.random ?? processRandom,
    rotate: options.rotate ?? ["tls", "record"],
    log: options.log ?? silentLog,
  };
  const { identity, trust } = await openOrEnrol(settings);
  const keeper = new AuthorityIdentityKeeper(settings, identity, trust);
  keeper.start();
  return keeper;
}

type Settings = IdentityKeeperOptions &
  Required<Pick<IdentityKeeperOptions, "crypto" | "scheduler" | "random" | "rotate" | "log">>;

async function openOrEnrol(settings: Settings): Promise<Enrolled> {
  const { vault, enrolment, fetchRoot, crypto, scheduler } = settings;
  const identity = await loadIdentity(vault);
  const trust = await loadTrust(vault);
  if (identity && trust && expiryOf(identity) > scheduler.now().unix) return { identity, trust };
  if (!fetchRoot || (!enrolment && !identity)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_NOT_ENROLLED",
      `expected an identity in ${vault.directory} or a join token, got neither; ask an operator of the domain for a token`,
    );
  }
  const common = {
    ...settings,
    fetchRoot,
    pollMs: settings.pollMs ?? 2_000,
    signal: settings.signal ?? new AbortController().signal,
  };
  if (enrolment) return enrol({ ...common, enrolment });
  const root = trust?.bundles[0]?.roots[0];
  if (!identity || !root) {
    throw refuse(
      "CAUSEWAY_KEYS_FILE_TAMPERED",
      `the trust state in ${vault.directory} is missing; restore it from a copy, or enrol again`,
    );
  }
  // A lapsed identity proves its key and asks for the certificates that it had.
  const lapsed: Enrolment = {
    authorityUrl: identity.authorityUrl,
    rootFingerprint: Buffer.from(crypto.sha256(root)).toString("hex"),
    spiffeId: identity.spiffeId,
    material: { organisation: "", developer: "", functionType: "", scopes: [] },
  };
  return enrol({ ...common, enrolment: lapsed, keys: identity.keys() });
}

class AuthorityIdentityKeeper implements IdentityKeeper {
  readonly spiffeId: AgentId;
  readonly domain: Domain;
  readonly trust: TrustStore;
  #identity: Identity;
  readonly #settings: Settings;
  readonly #stopped = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  readonly #onTrust = new Set<(state: aca.TrustState) => void>();
  readonly #onRenewed = new Set<(identity: Identity) => void>();
  readonly #onAlarm = new Set<(alarm: KeeperAlarm) => void>();
  #transport: AuthorityTransport;
  #client: Client<typeof aca.AuthorityService>;
  #watch = new AbortController();
  #renewal: Promise<void> | undefined;
  #saving: Promise<void> = Promise.resolve();
  #unsaved: aca.TrustState | undefined;
  /** Alarms already raised for the current certificates. */
  #raised = new Set<KeeperAlarm["kind"]>();

  constructor(settings: Settings, identity: Identity, trust: aca.TrustState) {
    this.#settings = settings;
    this.#identity = identity;
    this.spiffeId = identity.spiffeId;
    this.domain = identity.domain;
    this.trust = new TrustStore(settings.crypto);
    this.#replaceTrust(trust);
    this.#transport = this.#connect();
    this.#client = createClient(aca.AuthorityService, this.#transport);
  }

  get identity(): Identity {
    return this.#identity;
  }

  get authority(): Client<typeof aca.AuthorityService> {
    return this.#client;
  }

  /** Internal to `openIdentityKeeper`. */
  start(): void {
    this.#settings.signal?.addEventListener("abort", () => void this.stop(), {
      once: true,
      signal: this.#stopped.signal,
    });
    this.#run("keeper.renewal_ended", () => this.#keepRenewed());
    this.#run("keeper.watch_ended", () => this.#followTrust());
  }

  onTrust(listener: (state: aca.TrustState) => void): () => void {
    return subscribe(this.#onTrust, listener);
  }

  onRenewed(listener: (identity: Identity) => void): () => void {
    return subscribe(this.#onRenewed, listener);
  }

  onAlarm(listener: (alarm: KeeperAlarm) => void): () => void {
    return subscribe(this.#onAlarm, listener);
  }

  renew(): Promise<void> {
    this.#renewal ??= this.#renewOnce().finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  trusted(sequence: bigint, signal?: AbortSignal): Promise<void> {
    if (this.trust.sequence >= sequence) return Promise.resolve();
    const ended = AbortSignal.any([this.#stopped.signal, ...(signal ? [signal] : [])]);
    return new Promise((resolve, reject) => {
      const end = this.onTrust(() => {
        if (this.trust.sequence < sequence) return;
        end();
        ended.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = () => {
        end();
        reject(refuse("CAUSEWAY_CANCELLED", `waiting for trust state ${sequence} was cancelled`));
      };
      ended.addEventListener("abort", onAbort, { once: true });
    });
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#watch.abort();
    await Promise.allSettled([...this.#tasks, this.#renewal, this.#saving]);
    this.#transport.close?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #run(event: string, body: () => Promise<void>): void {
    const task = body().catch((thrown: unknown) => {
      const error = callErrorOf(thrown);
      if (!this.#stopped.signal.aborted)
        this.#settings.log.error(event, { code: error.code, message: error.message }, thrown);
    });
    this.#tasks.add(task);
    void task.finally(() => this.#tasks.delete(task));
  }

  #connect(): AuthorityTransport {
    return this.#settings.connect({
      url: this.#identity.authorityUrl,
      identity: () => this.#identity.tls(),
      trust: this.trust,
      expect: { roles: ["authority"], domain: this.domain },
    });
  }

  // Renewal

  async #keepRenewed(): Promise<void> {
    const { scheduler, random, log } = this.#settings;
    const { signal } = this.#stopped;
    const backoff = new Backoff(random, defaults.reconnectMsMin, defaults.reconnectMsMax);
    let due = renewalOf(this.#identity, random.fraction());
    let current = this.#identity;
    while (!signal.aborted) {
      if (current !== this.#identity) {
        current = this.#identity;
        due = renewalOf(current, random.fraction());
        backoff.reset();
      }
      this.#raiseExpiry();
      const left = due - scheduler.now().unix;
      // Slept in pieces, since monotonic timers stand still while a machine is suspended.
      if (left > 0) {
        await wait(scheduler, Math.min(left, waitMsMax), signal);
        continue;
      }
      try {
        await this.renew();
      } catch (thrown) {
        const error = callErrorOf(thrown);
        if (signal.aborted) return;
        log.warn("identity.renewal_failed", { spiffeId: this.spiffeId, code: error.code, message: error.message });
        this.#raise(error.code === "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" ? "revoked" : "renewal-failed", error);
        await wait(scheduler, backoff.pause(), signal);
      }
    }
  }

  async #renewOnce(): Promise<void> {
    const { vault, rotate, scheduler, log } = this.#settings;
    const old = this.#identity;
    const fresh = (purpose: Purpose) =>
      rotate.includes(purpose) ? generateKeyPair(keyTypeOf[purpose]) : old.keys()[purpose];
    const keys: PurposeKeys = { tls: fresh("tls"), mls: fresh("mls"), record: fresh("record") };
    const requests = certificateRequests(this.spiffeId, keys);
    const request = create(aca.RenewRequestSchema, { requests });
    const { certificates } = await this.#client.renew(request, { signal: this.#stopped.signal });
    if (!certificates)
      throw refuse("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING", "expected renewed certificates, the authority sent none");
    const identity = identityOf({ spiffeId: this.spiffeId, authorityUrl: old.authorityUrl, keys, certificates });
    if (certificates.trust) this.#takeTrust(certificates.trust);
    for (const purpose of purposes) {
      const peer = this.trust.verifyChain(identity.signer(purpose).chain, { now: scheduler.now().unix, purpose });
      if (peer.spiffeId !== this.spiffeId) {
        throw refuse(
          "CAUSEWAY_IDENTITY_MISMATCH",
          `expected a certificate for ${this.spiffeId}, got one for ${peer.spiffeId}`,
        );
      }
    }
    await saveIdentity(vault, identity);
    this.#identity = identity;
    this.#raised = new Set();
    const before = this.#transport;
    this.#transport = this.#connect();
    this.#client = createClient(aca.AuthorityService, this.#transport);
    this.#watch.abort();
    before.close?.();
    log.info("identity.renewed", { spiffeId: this.spiffeId, expiresUnixMs: expiryOf(identity) });
    this.#emit(this.#onRenewed, identity);
  }

  #raiseExpiry(): void {
    const { notBeforeUnixMs, notAfterUnixMs } = firstToExpire(this.#identity);
    const left = notAfterUnixMs - this.#settings.scheduler.now().unix;
    if (left <= 0) this.#raise("expired");
    else if (left < (notAfterUnixMs - notBeforeUnixMs) / 6) this.#raise("expires-soon");
  }

  /** Once for each kind and certificate. */
  #raise(kind: KeeperAlarm["kind"], error?: CausewayError): void {
    if (this.#raised.has(kind)) return;
    this.#raised.add(kind);
    this.#settings.log.warn("identity.alarm_raised", { spiffeId: this.spiffeId, kind, code: error?.code });
    this.#emit(this.#onAlarm, { kind, ...(error && { error }), expiresUnixMs: expiryOf(this.#identity) });
  }

  // Trust

  async #followTrust(): Promise<void> {
    const { scheduler, random, log } = this.#settings;
    const { signal } = this.#stopped;
    const backoff = new Backoff(random, defaults.reconnectMsMin, defaults.reconnectMsMax);
    while (!signal.aborted) {
      this.#watch = new AbortController();
      const watch = this.#watch.signal;
      try {
        for await (const { state } of this.#client.watchTrust({}, { signal: watch })) {
          backoff.reset();
          this.#raised.delete("watch-lost");
          if (state) this.#takeTrust(state);
        }
      } catch (thrown) {
        if (signal.aborted) return;
        // Aborted by a renewal: watch again at once with the new certificate.
        if (watch.aborted) continue;
        const error = callErrorOf(thrown);
        log.warn("trust.watch_lost", { code: error.code, message: error.message });
        this.#raise("watch-lost", error);
      }
      if (watch.aborted) continue;
      await wait(scheduler, backoff.pause(), signal);
    }
  }

  /** Takes a state that the authority sent, tells the listeners and keeps it on disk. */
  #takeTrust(state: aca.TrustState): void {
    if (state.sequence === this.trust.sequence) return;
    this.#replaceTrust(state);
    this.#saveTrustSoon(state);
    this.#emit(this.#onTrust, state);
    this.#raiseOwnRevocation();
  }

  #replaceTrust(state: aca.TrustState): void {
    for (const problem of this.trust.replace(state)) {
      this.#settings.log.warn("trust.bundle_refused", { domain: problem.domain, message: problem.message });
    }
  }

  #raiseOwnRevocation(): void {
    try {
      this.trust.verifyChain(this.#identity.signer("tls").chain, {
        now: this.#settings.scheduler.now().unix,
        purpose: "tls",
      });
    } catch (thrown) {
      const error = callErrorOf(thrown);
      if (error.code === "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED") this.#raise("revoked", error);
    }
  }

  /** Writes one after the other; of several waiting states only the newest. */
  #saveTrustSoon(state: aca.TrustState): void {
    this.#unsaved = state;
    this.#saving = this.#saving.then(async () => {
      const newest = this.#unsaved;
      if (!newest) return;
      this.#unsaved = undefined;
      try {
        await saveTrust(this.#settings.vault, newest);
      } catch (thrown) {
        // The state in memory is right; only a restart without the authority would see an older one.
        this.#settings.log.error("trust.save_failed", { code: callErrorOf(thrown).code }, thrown);
      }
    });
  }

  #emit<T>(listeners: ReadonlySet<(value: T) => void>, value: T): void {
    for (const listener of [...listeners]) {
      try {
        listener(value);
      } catch (thrown) {
        // A listener's defect may not stop renewal or revocation.
        this.#settings.log.error("keeper.listener_failed", {}, thrown);
      }
    }
  }
}

function subscribe<T>(listeners: Set<(value: T) => void>, listener: (value: T) => void): () => void {
  const entry = (value: T) => listener(value);
  listeners.add(entry);
  return () => {
    listeners.delete(entry);
  };
}

function firstToExpire(identity: Identity): { readonly notBeforeUnixMs: number; readonly notAfterUnixMs: number } {
  return identity.validity().reduce((first, next) => (next.notAfterUnixMs < first.notAfterUnixMs ? next : first));
}

const expiryOf = (identity: Identity): number => firstToExpire(identity).notAfterUnixMs;

/** When to renew: at 2/3 of the lifetime, up to a twentieth earlier, so that identities made together renew apart. */
function renewalOf(identity: Identity, fraction: number): number {
  const { notBeforeUnixMs, notAfterUnixMs } = firstToExpire(identity);
  const lifetime = notAfterUnixMs - notBeforeUnixMs;
  return notBeforeUnixMs + lifetime * defaults.renewAt - (lifetime / 20) * fraction;
}

const waitMsMax = 60_000;
