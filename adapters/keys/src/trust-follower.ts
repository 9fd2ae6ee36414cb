/** Follows the trust state of the authority: in memory at once, on disk soon after, listeners told in between. */
import { type CausewayError, defaults, type Log, type Random, refuse, type Scheduler } from "@causeway/core-base";
import { type CryptoPort, TrustStore } from "@causeway/core-identity";
import type { aca } from "@causeway/core-wire";
import type { Client } from "@connectrpc/connect";
import { saveTrust } from "./identity.ts";
import type { KeyVault } from "./key-vault.ts";
import { Listeners } from "./listeners.ts";
import { callErrorOf } from "./network.ts";
import { Backoff, wait } from "./wait.ts";

/** What a follower needs. */
export interface TrustFollowerOptions {
  readonly vault: KeyVault;
  readonly crypto: CryptoPort;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: Log;
  /** The authority, asked for at each new watch. */
  readonly authority: () => Client<typeof aca.AuthorityService>;
  /** The watch ended with an error; another try follows. */
  readonly onLost: (error: CausewayError) => void;
  readonly onWatching: () => void;
}

/** Keeps a trust store equal to the authority's trust state. */
export class TrustFollower {
  readonly store: TrustStore;
  readonly #options: TrustFollowerOptions;
  readonly #listeners: Listeners<aca.TrustState>;
  #watch = new AbortController();
  #state: aca.TrustState;
  #saving: Promise<void> = Promise.resolve();
  #unsaved: aca.TrustState | undefined;

  constructor(options: TrustFollowerOptions, state: aca.TrustState) {
    this.#options = options;
    this.#listeners = new Listeners(options.log);
    this.store = new TrustStore(options.crypto);
    this.#state = state;
    this.#replace(state);
  }

  /** The state that is held. */
  get state(): aca.TrustState {
    return this.#state;
  }

  onTrust(listener: (state: aca.TrustState) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Takes a state that the authority sent; one that is held already changes nothing. */
  take(state: aca.TrustState): void {
    if (state.sequence === this.store.sequence) return;
    this.#replace(state);
    this.#saveSoon(state);
    this.#listeners.emit(state);
  }

  /** Watches until aborted, with pauses of 0.5 to 30 s after a failure. */
  async follow(stopped: AbortSignal): Promise<void> {
    const { scheduler, random, log, authority, onLost, onWatching } = this.#options;
    const backoff = new Backoff(random, defaults.reconnectMsMin, defaults.reconnectMsMax);
    while (!stopped.aborted) {
      this.#watch = new AbortController();
      const { signal } = this.#watch;
      try {
        const stream = authority().watchTrust({}, { signal: AbortSignal.any([signal, stopped]) });
        for await (const { state } of stream) {
          backoff.reset();
          onWatching();
          if (state) this.take(state);
        }
      } catch (thrown) {
        if (!stopped.aborted && !signal.aborted) {
          const error = callErrorOf(thrown);
          log.warn("trust.watch_lost", { code: error.code, message: error.message });
          onLost(error);
        }
      }
      // Ended by `restart`: again at once, over the new connection.
      if (!stopped.aborted && !signal.aborted) await wait(scheduler, backoff.pause(), stopped);
    }
  }

  /** Ends the running watch and begins another. */
  restart(): void {
    this.#watch.abort();
  }

  /** Resolves when the state is at least this new. */
  reached(sequence: bigint, ended: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = () => {
        end();
        reject(refuse("CAUSEWAY_CANCELLED", `waiting for trust state ${sequence} was cancelled`));
      };
      const check = () => {
        if (this.store.sequence < sequence) return;
        end();
        ended.removeEventListener("abort", cancel);
        resolve();
      };
      const end = this.onTrust(check);
      ended.addEventListener("abort", cancel, { once: true });
      check();
      if (ended.aborted) cancel();
    });
  }

  /** Resolves when the newest state is on disk. */
  saved(): Promise<void> {
    return this.#saving;
  }

  #replace(state: aca.TrustState): void {
    this.#state = state;
    for (const problem of this.store.replace(state)) {
      this.#options.log.warn("trust.bundle_refused", { domain: problem.domain, message: problem.message });
    }
  }

  /** Writes one after the other; of several waiting states only the newest. */
  #saveSoon(state: aca.TrustState): void {
    this.#unsaved = state;
    this.#saving = this.#saving.then(async () => {
      const newest = this.#unsaved;
      if (!newest) return;
      this.#unsaved = undefined;
      try {
        await saveTrust(this.#options.vault, newest);
      } catch (thrown) {
        // The state in memory is right; only a restart without the authority would see an older one.
        this.#options.log.error("trust.save_failed", { code: callErrorOf(thrown).code }, thrown);
      }
    });
  }
}
