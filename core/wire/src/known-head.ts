/**
 * The first fields of a header that came twice in a row. One sender's messages to one target have the same bytes up to
 * the message id, and reading what was read before costs more than comparing it. A hit compares all bytes with a private
 * copy, so that whether a head is known changes no outcome.
 */
import type { SeenName } from "./seen-names.ts";

/** Where things are in a head, from its start. */
export interface HeadLayout {
  /** Fields of the head, a bit for each number. */
  readonly seen: number;
  readonly version: number;
  readonly targetKind: number;
  readonly targetFrom: number;
  readonly targetTo: number;
  readonly sourceFrom: number;
  readonly sourceTo: number;
  readonly target: SeenName;
  readonly source: SeenName;
}

/** The one head that is known. */
export class KnownHead {
  layout: HeadLayout | undefined;
  /** Bytes of the head, up to and with the length of the message id. */
  length = 0;
  #bytes = new DataView(new ArrayBuffer(0));
  #lastTarget: SeenName | undefined;
  #lastSource: SeenName | undefined;

  /** True when these names came with the last header as well: its head may be kept. */
  isRepeated(target: SeenName, source: SeenName): boolean {
    const isRepeated = target === this.#lastTarget && source === this.#lastSource;
    this.#lastTarget = target;
    this.#lastSource = source;
    return isRepeated;
  }

  /** Keeps a copy of `[start, end)`. */
  keep(buf: Uint8Array, start: number, end: number, layout: HeadLayout): void {
    const copy = new Uint8Array(buf.subarray(start, end));
    this.#bytes = new DataView(copy.buffer);
    this.length = copy.length;
    this.layout = layout;
  }

  /** The layout when the known head begins at `start`; `end` bounds what may be read. */
  find(view: DataView, start: number, end: number): HeadLayout | undefined {
    const { length } = this;
    if (length === 0 || end - start < length) return undefined;
    const own = this.#bytes;
    // From the end: names differ there.
    let i = length - 4;
    for (; i >= 0; i -= 4) if (own.getInt32(i, true) !== view.getInt32(start + i, true)) return undefined;
    for (i += 3; i >= 0; i--) if (own.getUint8(i) !== view.getUint8(start + i)) return undefined;
    return this.layout;
  }
}
