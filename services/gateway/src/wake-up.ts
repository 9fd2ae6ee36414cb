import type { Instant, Scheduler } from "@causeway/core-base";

/** One timer for a machine's one deadline: armed anew whenever the deadline may have changed. */
export class WakeUp {
  readonly #scheduler: Scheduler;
  readonly #run: () => void;
  #armed: { readonly at: Instant; readonly cancel: () => void } | undefined;

  constructor(scheduler: Scheduler, run: () => void) {
    this.#scheduler = scheduler;
    this.#run = run;
  }

  arm(deadline: Instant | undefined): void {
    if (deadline === this.#armed?.at) return;
    // A later deadline keeps the earlier timer: it fires, finds nothing due and arms anew. Leases move with every frame.
    if (deadline !== undefined && this.#armed !== undefined && deadline > this.#armed.at) return;
    this.cancel();
    if (deadline === undefined) return;
    const cancel = this.#scheduler.at(deadline, () => {
      this.#armed = undefined;
      this.#run();
    });
    this.#armed = { at: deadline, cancel };
  }

  cancel(): void {
    this.#armed?.cancel();
    this.#armed = undefined;
  }
}
