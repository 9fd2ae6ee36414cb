import { Lane } from "@causeway/core-wire";

/** Whether a link takes more frames: each lane has room of its own, and the other side may want no more bulk for now. */
export class LinkRoom {
  readonly #closed: { [lane in Lane]: PromiseWithResolvers<void> | undefined } = {
    [Lane.urgent]: undefined,
    [Lane.bulk]: undefined,
  };
  #isStopped = false;

  /** Resolves when there is room in the lane; undefined when there is. */
  wait(lane: Lane): Promise<void> | undefined {
    return this.#closed[lane]?.promise;
  }

  /** The lane is full until `open`. */
  close(lane: Lane): void {
    this.#closed[lane] ??= Promise.withResolvers();
  }

  /** Lanes have room again, bulk only when the other side has not stopped it. */
  open(): void {
    this.#release(Lane.urgent);
    if (!this.#isStopped) this.#release(Lane.bulk);
  }

  /** The other side wants no more bulk, or wants it again. */
  stopBulk(isStopped: boolean): void {
    this.#isStopped = isStopped;
    if (isStopped) this.close(Lane.bulk);
    else this.#release(Lane.bulk);
  }

  /** The link is gone: whoever waits looks for another. */
  reset(): void {
    this.#isStopped = false;
    this.open();
  }

  #release(lane: Lane): void {
    const closed = this.#closed[lane];
    this.#closed[lane] = undefined;
    closed?.resolve();
  }
}
