/** An identity keeper at work: renews at two thirds of the lifetime and raises alarms; trust is the follower's part. */
import { create } from "@bufbuild/protobuf";
import { type AgentId, type CausewayError, type Domain, defaults, refuse } from "@causeway/core-base";
import type { TrustStore } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { type Client, createClient } from "@connectrpc/connect";
import type { Enrolled } from "./enrolment.ts";
import { type Identity, identityOf, markRevoked, saveIdentity } from "./identity.ts";
import type { IdentityKeeper, IdentityKeeperOptions, KeeperAlarm } from "./identity-keeper.ts";
import { generateKeyPair, keyTypeOf } from "./key-pair.ts";
import { restoreLapsed } from "./lapsed.ts";
import { Listeners } from "./listeners.ts";
import { type AuthorityTransport, callErrorOf } from "./network.ts";
import { certificateRequests, forPurposes } from "./purpose-keys.ts";
import { TrustFollower } from "./trust-follower.ts";
import { Backoff, wait } from "./wait.ts";

/** Options with every default in place. */
export type KeeperSettings = IdentityKeeperOptions &
  Required<Pick<IdentityKeeperOptions, "crypto" | "scheduler" | "random" | "rotate" | "pollMs" | "log">>;

/** The keeper that `openIdentityKeeper` returns. */
export class RunningKeeper implements IdentityKeeper {
  readonly spiffeId: AgentId;
  readonly domain: Domain;
  #identity: Identity;
  readonly #settings: KeeperSettings;
  readonly #follower: TrustFollower;
  readonly #stopped = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  readonly #onRenewed: Listeners<Identity>;
  readonly #onAlarm: Listeners<KeeperAlarm>;
  #transport: AuthorityTransport;
  #client: Client<typeof aca.AuthorityService>;
  #renewal: Promise<void> | undefined;
  /** Alarms already raised for the current certificates. */
  #raised = new Set<KeeperAlarm["kind"]>();

  constructor(settings: KeeperSettings, { identity, trust }: Enrolled) {
    this.#settings = settings;
    this.#identity = identity;
    this.spiffeId = identity.spiffeId;
    this.domain = identity.domain;
    this.#onRenewed = new Listeners(settings.log);
    this.#onAlarm = new Listeners(settings.log);
    this.#follower = new TrustFollower(
      {
        ...settings,
        authority: () => this.#client,
        onLost: (error) => this.#raiseRefusal("watch-lost", error),
        onWatching: () => this.#raised.delete("watch-lost"),
      },
      trust,
    );
    this.#follower.onTrust(() => this.#raiseOwnRevocation());
    this.#transport = this.#connect();
    this.#client = createClient(aca.AuthorityService, this.#transport);
  }

  get identity(): Identity {
    return this.#identity;
  }

  get trust(): TrustStore {
    return this.#follower.store;
  }

  get authority(): Client<typeof aca.AuthorityService> {
    return this.#client;
  }

  start(): void {
    const { signal } = this.#settings;
    if (signal?.aborted) void this.stop();
    signal?.addEventListener("abort", () => void this.stop(), { once: true, signal: this.#stopped.signal });
    this.#run("keeper.renewal_ended", () => this.#keepRenewed());
    this.#run("keeper.watch_ended", () => this.#follower.follow(this.#stopped.signal));
  }

  onTrust(listener: (state: aca.TrustState) => void): () => void {
    return this.#follower.onTrust(listener);
  }

  onRenewed(listener: (identity: Identity) => void): () => void {
    return this.#onRenewed.add(listener);
  }

  onAlarm(listener: (alarm: KeeperAlarm) => void): () => void {
    return this.#onAlarm.add(listener);
  }

  renew(): Promise<void> {
    this.#renewal ??= this.#renewOnce()
      .catch((thrown: unknown) => {
        throw callErrorOf(thrown);
      })
      .finally(() => {
        this.#renewal = undefined;
      });
    return this.#renewal;
  }

  trusted(sequence: bigint, signal?: AbortSignal): Promise<void> {
    return this.#follower.reached(sequence, AbortSignal.any([this.#stopped.signal, ...(signal ? [signal] : [])]));
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await Promise.allSettled([...this.#tasks, this.#renewal]);
    await this.#follower.saved();
    this.#transport.close?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #run(event: string, body: () => Promise<void>): void {
    const task = body().catch((thrown: unknown) => {
      if (this.#stopped.signal.aborted) return;
      const error = callErrorOf(thrown);
      this.#settings.log.error(event, { code: error.code, message: error.message }, thrown);
    });
    this.#tasks.add(task);
    void task.finally(() => this.#tasks.delete(task));
  }

  #connect(): AuthorityTransport {
    return this.#settings.connect({
      url: this.#identity.authorityUrl,
      identity: () => this.#identity.tls(),
      // Only the authority itself can bring lists in the place of stale ones.
      trust: this.trust.forLists(),
      expect: { roles: ["authority"], domain: this.domain },
    });
  }

  async #keepRenewed(): Promise<void> {
    const { scheduler, random, log } = this.#settings;
    const { signal } = this.#stopped;
    const backoff = new Backoff(random, defaults.reconnectMsMin, defaults.reconnectMsMax);
    let current = this.#identity;
    let due = renewalOf(current, random.fraction());
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
        if (signal.aborted) return;
        const error = callErrorOf(thrown);
        log.warn("identity.renewal_failed", { spiffeId: this.spiffeId, code: error.code, message: error.message });
        this.#raiseRefusal("renewal-failed", error);
        await wait(scheduler, backoff.pause(), signal);
      }
    }
  }

  async #renewOnce(): Promise<void> {
    if (expiryOf(this.#identity) <= this.#settings.scheduler.now().unix && (await this.#restore())) return;
    const { vault, rotate, log } = this.#settings;
    const old = this.#identity;
    const keys = forPurposes(
      old.purposes,
      (purpose) => (rotate.includes(purpose) ? undefined : old.keys()[purpose]) ?? generateKeyPair(keyTypeOf[purpose]),
    );
    const request = create(aca.RenewRequestSchema, { requests: certificateRequests(this.spiffeId, keys) });
    const { certificates } = await this.#client.renew(request, { signal: this.#stopped.signal });
    if (!certificates) {
      throw refuse(
        "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING",
        "expected renewed certificates, the authority sent none; retry later",
      );
    }
    const identity = identityOf({ spiffeId: this.spiffeId, authorityUrl: old.authorityUrl, keys, certificates });
    if (certificates.trust) this.#follower.take(certificates.trust);
    this.#check(identity);
    await saveIdentity(vault, identity);
    this.#use(identity);
    log.info("identity.renewed", { spiffeId: this.spiffeId, expiresUnixMs: expiryOf(identity) });
    this.#onRenewed.emit(identity);
  }

  /** An expired certificate opens no connection to renew over; its keys still prove who we are. False without means. */
  async #restore(): Promise<boolean> {
    const { fetchRoot, log } = this.#settings;
    if (!fetchRoot) return false;
    const held = { identity: this.#identity, trust: this.#follower.state };
    const { identity, trust } = await restoreLapsed(
      { ...this.#settings, fetchRoot, signal: this.#stopped.signal },
      held,
    );
    this.#follower.take(trust);
    this.#use(identity);
    log.info("identity.restored", { spiffeId: this.spiffeId, expiresUnixMs: expiryOf(identity) });
    this.#onRenewed.emit(identity);
    return true;
  }

  /** What our own trust state would not accept is not put to use. */
  #check(identity: Identity): void {
    const now = this.#settings.scheduler.now().unix;
    for (const purpose of identity.purposes) {
      const peer = this.trust.verifyChain(identity.signer(purpose).chain, { now, purpose });
      if (peer.spiffeId === this.spiffeId) continue;
      throw refuse(
        "CAUSEWAY_IDENTITY_MISMATCH",
        `expected a certificate for ${this.spiffeId}, got one for ${peer.spiffeId}; the authority answered wrongly`,
      );
    }
  }

  /** From here on every connection is made with the new certificate. */
  #use(identity: Identity): void {
    const before = this.#transport;
    this.#identity = identity;
    this.#raised = new Set();
    this.#transport = this.#connect();
    this.#client = createClient(aca.AuthorityService, this.#transport);
    this.#follower.restart();
    before.close?.();
  }

  #raiseExpiry(): void {
    const { notBeforeUnixMs, notAfterUnixMs } = firstToExpire(this.#identity);
    const left = notAfterUnixMs - this.#settings.scheduler.now().unix;
    if (left <= 0) this.#raise("expired");
    else if (left < (notAfterUnixMs - notBeforeUnixMs) / 6) this.#raise("expires-soon");
  }

  #raiseOwnRevocation(): void {
    const { chain } = this.#identity.signer("tls");
    try {
      this.trust.verifyChain(chain, { now: this.#settings.scheduler.now().unix, purpose: "tls" });
    } catch (thrown) {
      const error = callErrorOf(thrown);
      if (error.code === revokedCode) this.#raise("revoked", error);
    }
  }

  /** The authority's word that we are revoked may be the only one that reaches us, so it is kept. */
  #raiseRefusal(kind: KeeperAlarm["kind"], error: CausewayError): void {
    if (error.code !== revokedCode) {
      this.#raise(kind, error);
      return;
    }
    this.#raise("revoked", error);
    this.#run("keeper.mark_failed", () => markRevoked(this.#settings.vault, this.#identity));
  }

  /** Once for each kind and certificate. */
  #raise(kind: KeeperAlarm["kind"], error?: CausewayError): void {
    if (this.#raised.has(kind)) return;
    this.#raised.add(kind);
    this.#settings.log.warn("identity.alarm_raised", { spiffeId: this.spiffeId, kind, code: error?.code });
    this.#onAlarm.emit({ kind, ...(error && { error }), expiresUnixMs: expiryOf(this.#identity) });
  }
}

/** When the first of its certificates expires. */
export const expiryOf = (identity: Identity): number => firstToExpire(identity).notAfterUnixMs;

function firstToExpire(identity: Identity): { readonly notBeforeUnixMs: number; readonly notAfterUnixMs: number } {
  return identity.validity().reduce((first, next) => (next.notAfterUnixMs < first.notAfterUnixMs ? next : first));
}

/** When to renew: at 2/3 of the lifetime, up to a twentieth earlier, so that identities made together renew apart. */
function renewalOf(identity: Identity, fraction: number): number {
  const { notBeforeUnixMs, notAfterUnixMs } = firstToExpire(identity);
  const lifetime = notAfterUnixMs - notBeforeUnixMs;
  return notBeforeUnixMs + lifetime * defaults.renewAt - (lifetime / 20) * fraction;
}

const waitMsMax = 60_000;
const revokedCode = "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED";
