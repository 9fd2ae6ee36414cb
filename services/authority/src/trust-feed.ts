/**
 * The trust state of the domain and who watches it. A watcher has no queue: it is woken by a change and takes the state
 * of that moment, so a slow one skips what is outdated and costs the same as a fast one.
 */
import { create, fromBinary } from "@bufbuild/protobuf";
import { type AuthorityStore, isCausewayError, type Log, refuse } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import type { AuthoritySettings } from "./config.ts";
import { type Hierarchy, readNumber, writeNumber } from "./hierarchy.ts";

/** Makes the trust state from the store and tells of its changes. */
export class TrustFeed {
  readonly #settings: AuthoritySettings;
  readonly #store: AuthorityStore;
  readonly #hierarchy: Hierarchy;
  readonly #log: Log;
  readonly #listeners = new Set<(state: aca.TrustState) => void>();
  readonly #wakers = new Set<() => void>();
  #state: aca.TrustState;
  #memberState: aca.TrustState;
  #closed = false;

  constructor(settings: AuthoritySettings, store: AuthorityStore, hierarchy: Hierarchy, log: Log) {
    this.#settings = settings;
    this.#store = store;
    this.#hierarchy = hierarchy;
    this.#log = log;
    this.#state = this.#read();
    this.#memberState = withoutForeignAddresses(this.#state);
  }

  /** The state now, for this authority and the domain's operators. Shared: not to be changed. */
  get state(): aca.TrustState {
    return this.#state;
  }

  /** The state now, for everybody else: without addresses of other domains (AAP-4). Shared: not to be changed. */
  get memberState(): aca.TrustState {
    return this.#memberState;
  }

  /** Other domains that are trusted now. */
  get foreignDomains(): number {
    return this.#state.bundles.length - 1;
  }

  /** This domain's part. */
  ownBundle(): aca.TrustBundle {
    const { domain, url } = this.#settings;
    return create(aca.TrustBundleSchema, {
      domain,
      roots: [this.#hierarchy.root],
      crls: this.#hierarchy.crls(),
      authorityUrl: url,
      intermediates: [this.#hierarchy.issuingCertificate],
    });
  }

  /** Counts a change; part of the transaction that makes it. `publish` has to follow the transaction. */
  bump(): void {
    writeNumber(this.#store, "trust-sequence", readNumber(this.#store, "trust-sequence") + 1n);
  }

  /** Reads the state anew and tells everybody at once. */
  publish(): void {
    this.#state = this.#read();
    this.#memberState = withoutForeignAddresses(this.#state);
    for (const listener of [...this.#listeners]) {
      try {
        listener(this.#state);
      } catch (thrown) {
        // A listener's defect may not keep a revocation from the others.
        this.#log.error(
          "authority.listener_failed",
          { code: isCausewayError(thrown) ? thrown.code : "unknown" },
          thrown,
        );
      }
    }
    for (const wake of [...this.#wakers]) wake();
  }

  onTrust(listener: (state: aca.TrustState) => void): () => void {
    const entry = (state: aca.TrustState) => listener(state);
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  /** The state now and the newest after each change, until aborted or closed. */
  async *watch(signal: AbortSignal, { isOperator }: { readonly isOperator: boolean }): AsyncGenerator<aca.TrustState> {
    if (this.#wakers.size >= this.#settings.watchersMax) {
      throw refuse(
        "CAUSEWAY_LIMIT_COUNT",
        `${this.#settings.watchersMax} connections watch the trust state already; retry later`,
        {
          details: { limit: "watchersMax" },
        },
      );
    }
    let wake: () => void = () => undefined;
    const waker = () => wake();
    this.#wakers.add(waker);
    signal.addEventListener("abort", waker, { once: true });
    try {
      let seen: bigint | undefined;
      while (!signal.aborted && !this.#closed) {
        const state = isOperator ? this.#state : this.#memberState;
        if (state.sequence !== seen) {
          seen = state.sequence;
          yield state;
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (signal.aborted || this.#closed || this.#state.sequence !== seen) resolve();
        });
      }
    } finally {
      this.#wakers.delete(waker);
      signal.removeEventListener("abort", waker);
    }
  }

  /** Streams that watch now. */
  get watchers(): number {
    return this.#wakers.size;
  }

  /** Ends every watch. */
  close(): void {
    this.#closed = true;
    for (const wake of [...this.#wakers]) wake();
  }

  #read(): aca.TrustState {
    const foreign = this.#store.bundles().map((b) => fromBinary(aca.TrustBundleSchema, b.bundle));
    const sequence = readNumber(this.#store, "trust-sequence");
    return create(aca.TrustStateSchema, { sequence, bundles: [this.ownBundle(), ...foreign] });
  }
}

/** Only the authority itself dials that of another domain. */
function withoutForeignAddresses(state: aca.TrustState): aca.TrustState {
  const [own, ...foreign] = state.bundles;
  return create(aca.TrustStateSchema, {
    sequence: state.sequence,
    bundles: [...(own ? [own] : []), ...foreign.map((bundle) => ({ ...bundle, authorityUrl: "" }))],
  });
}
