/** What an authority does by itself: CRLs anew long before they expire, CRLs of other domains, clearing out. */
import { fromBinary } from "@bufbuild/protobuf";
import { CausewayError, later, type Scheduler } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import { updateCrls } from "./bundles.ts";
import type { AuthorityContext } from "./context.ts";
import type { FetchForeignCrls } from "./ports.ts";

/** Background work of one authority, from `start` to `stop`. */
export class Schedule {
  readonly #context: AuthorityContext;
  readonly #scheduler: Scheduler;
  readonly #fetchForeignCrls: FetchForeignCrls | undefined;
  readonly #stopped = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  readonly #cancels = new Map<string, () => void>();

  constructor(context: AuthorityContext, scheduler: Scheduler, fetchForeignCrls: FetchForeignCrls | undefined) {
    this.#context = context;
    this.#scheduler = scheduler;
    this.#fetchForeignCrls = fetchForeignCrls;
  }

  start(): void {
    const { crlRefreshMs } = this.#context.settings;
    // Asked for often, since monotonic timers stand still while a machine is suspended.
    this.#repeat("upkeep", upkeepCheckMs, async () => {
      this.#clearLapsed();
      if (this.#context.hierarchy.isUpkeepDue) await this.upkeep();
    });
    if (this.#fetchForeignCrls) this.#repeat("foreign", crlRefreshMs, () => this.refreshForeign(), 0);
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const cancel of this.#cancels.values()) cancel();
    await Promise.allSettled([...this.#tasks]);
  }

  /** Fetches the CRLs of every trusted domain whose authority is known. One that fails does not stop the others. */
  async refreshForeign(): Promise<void> {
    const fetchCrls = this.#fetchForeignCrls;
    if (!fetchCrls) return;
    const bundles = this.#context.store.bundles().map((b) => fromBinary(aca.TrustBundleSchema, b.bundle));
    const waiting = bundles.filter((b) => b.authorityUrl !== "");
    const worker = async (): Promise<void> => {
      for (let next = waiting.shift(); next && !this.#stopped.signal.aborted; next = waiting.shift())
        await this.#refresh(fetchCrls, next);
    };
    await Promise.all(Array.from({ length: Math.min(fetchesMax, waiting.length) }, worker));
  }

  async #refresh(fetchCrls: FetchForeignCrls, bundle: aca.TrustBundle): Promise<void> {
    const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(fetchMsMax)]);
    try {
      const crls = await fetchCrls(bundle.domain, bundle.authorityUrl, signal);
      if (!this.#stopped.signal.aborted && updateCrls(this.#context, bundle.domain, crls)) {
        this.#context.log.info("authority.foreign_crl_updated", { domain: bundle.domain });
      }
    } catch (thrown) {
      if (this.#stopped.signal.aborted) return;
      // The CRLs held stay in force; receivers refuse the domain once they are stale.
      const error = CausewayError.from(thrown);
      this.#context.log.warn("authority.foreign_crl_failed", {
        domain: bundle.domain,
        code: error.code,
        message: error.message,
      });
    }
  }

  /** New CRLs, a new issuing certificate when due, and clearing out. */
  async upkeep(): Promise<void> {
    const { hierarchy, store, feed, settings, now } = this.#context;
    const rootKey = await hierarchy.rootKey();
    store.transaction(() => {
      store.deleteCertificatesExpiredBefore(now() - settings.archiveMs);
      store.deleteTokensExpiredBefore(now() - settings.archiveMs);
      store.deleteApplicationsBefore("rejected", now() - settings.archiveMs);
      store.deleteApplicationsBefore("issued", now() - settings.archiveMs);
      hierarchy.renewUpper(rootKey);
      hierarchy.reissueCrl();
      feed.bump();
    });
    feed.publish();
  }

  /** They hold places that others wait for, so not only with the CRLs. */
  #clearLapsed(): void {
    const { store, settings, now } = this.#context;
    store.deleteApplicationsBefore("in review", now() - settings.applicationLifetimeMs);
  }

  #repeat(name: string, everyMs: number, body: () => Promise<void>, firstMs = everyMs): void {
    const arm = (afterMs: number) => {
      if (this.#stopped.signal.aborted) return;
      this.#cancels.set(name, this.#scheduler.at(later(this.#scheduler.now().instant, afterMs), run));
    };
    const run = () => {
      const task = body()
        .catch((thrown: unknown) => this.#context.log.error("authority.upkeep_failed", { task: name }, thrown))
        .finally(() => {
          this.#tasks.delete(task);
          arm(everyMs);
        });
      this.#tasks.add(task);
    };
    arm(firstMs);
  }
}

/** Foreign authorities that are asked at once. */
const fetchesMax = 8;
/** At most a third of the shortest lifetime of CRLs. */
const upkeepCheckMs = 60_000;
const fetchMsMax = 20_000;
