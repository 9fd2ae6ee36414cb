/**
 * Message frames that came before, but for what differs from message to message: id, expiry and sealed bytes. A sender
 * writes many frames of one shape, and comparing a shape by words costs less than reading it field by field. A hit
 * compares every byte that a scan would look at with a private copy, MLS framing included, so that whether a frame is
 * known changes no outcome. Bounded: a place holds one shape, the newest.
 */
import type { FrameScan } from "./frame-scan.ts";
import { MlsScan, MlsWireFormat, scanMls } from "./mls-framing.ts";

/** One shape. Offsets are from the start of the frame. */
export class KnownFrame {
  readonly length: number;
  /** For whoever decides about messages: what it decided the last time. */
  memo: object | undefined = undefined;
  readonly #own: DataView;
  readonly #scan: FrameScan;
  /** What may differ: the id; the expiry, empty when there is none; the sealed sender data; all from `#fixedEnd` on. */
  readonly #idEnd: number;
  readonly #expiryStart: number;
  readonly #expiryEnd: number;
  readonly #sealedStart: number;
  readonly #sealedEnd: number;
  readonly #fixedEnd: number;

  /** `scan`: of `bytes`, from offset 0; not shared. */
  constructor(bytes: Uint8Array, scan: FrameScan, mls: MlsScan) {
    this.length = bytes.length;
    this.#own = new DataView(new Uint8Array(bytes.subarray(0, mls.ciphertextStart)).buffer);
    this.#scan = scan;
    // The sealed content is not kept.
    scan.buf = nothing;
    scan.view = new DataView(nothing.buffer);
    scan.viewed = undefined;
    this.#idEnd = scan.messageIdEnd;
    this.#expiryStart = scan.expiresUnixMs > 0 ? scan.expiresAt : scan.messageIdEnd;
    this.#expiryEnd = scan.expiresUnixMs > 0 ? scan.expiresAt + 8 : scan.messageIdEnd;
    this.#sealedStart = mls.senderDataStart;
    this.#sealedEnd = mls.senderDataEnd;
    this.#fixedEnd = mls.ciphertextStart;
  }

  /** True when the frame of `length` bytes at `start` has this shape. */
  is(view: DataView, start: number): boolean {
    return (
      // From the header's end: names and what follows them differ most.
      this.#isSame(view, start, this.#expiryEnd, this.#sealedStart) &&
      this.#isSame(view, start, 0, this.#scan.messageIdStart) &&
      this.#isSame(view, start, this.#idEnd, this.#expiryStart) &&
      this.#isSame(view, start, this.#sealedEnd, this.#fixedEnd)
    );
  }

  /** Writes what a scan of the frame at `start` finds; false for an expiry that no number holds. */
  describe(into: FrameScan, start: number): boolean {
    const s = this.#scan;
    let expires = 0;
    if (this.#expiryEnd > this.#expiryStart) {
      const at = start + this.#expiryStart;
      expires = into.view.getUint32(at + 4, true) * 2 ** 32 + into.view.getUint32(at, true);
      if (expires > Number.MAX_SAFE_INTEGER) return false;
    }
    into.kind = s.kind;
    into.bodyStart = start + s.bodyStart;
    into.bodyEnd = start + s.bodyEnd;
    into.headerStart = start + s.headerStart;
    into.headerEnd = start + s.headerEnd;
    into.version = s.version;
    into.targetKind = s.targetKind;
    into.targetStart = start + s.targetStart;
    into.targetEnd = start + s.targetEnd;
    into.sourceStart = start + s.sourceStart;
    into.sourceEnd = start + s.sourceEnd;
    if (into.targetName !== s.targetName) into.targetName = s.targetName;
    if (into.sourceName !== s.sourceName) into.sourceName = s.sourceName;
    into.messageIdStart = start + s.messageIdStart;
    into.messageIdEnd = start + s.messageIdEnd;
    into.hopTtl = s.hopTtl;
    into.hopTtlAt = start + s.hopTtlAt;
    into.expiresUnixMs = expires;
    into.expiresAt = s.expiresAt === 0 ? 0 : start + s.expiresAt;
    into.securityContextStart = start + s.securityContextStart;
    into.securityContextEnd = start + s.securityContextEnd;
    into.trafficClass = s.trafficClass;
    into.deliveryMode = s.deliveryMode;
    into.traceContextStart = start + s.traceContextStart;
    into.traceContextEnd = start + s.traceContextEnd;
    into.flags = s.flags;
    into.payloadStart = start + s.payloadStart;
    into.payloadEnd = start + s.payloadEnd;
    into.controlBody = 0;
    return true;
  }

  #isSame(view: DataView, start: number, from: number, to: number): boolean {
    const own = this.#own;
    if (to - from < 4) {
      for (let i = from; i < to; i++) if (own.getUint8(i) !== view.getUint8(start + i)) return false;
      return true;
    }
    // The last word may overlap the one before.
    if (own.getInt32(to - 4, true) !== view.getInt32(start + to - 4, true)) return false;
    for (let i = from; i + 4 < to; i += 4) {
      if (own.getInt32(i, true) !== view.getInt32(start + i, true)) return false;
    }
    return true;
  }
}

/** The shapes seen lately. */
export class KnownFrames {
  readonly #mask: number;
  readonly #frames: (KnownFrame | undefined)[];
  /** Sample of the frame that came last and is not known, by place. */
  readonly #once: Int32Array;
  /** Shapes kept in a row that never came again, by place: what a frame has of its own makes the next not worth keeping. */
  readonly #wasted: Uint8Array;
  readonly #skipped: Uint16Array;
  readonly #mls = new MlsScan();

  /** `places`: a power of two, default 1,024. */
  constructor(places = 1_024) {
    this.#mask = places - 1;
    this.#frames = new Array<KnownFrame | undefined>(places).fill(undefined);
    this.#once = new Int32Array(places);
    this.#wasted = new Uint8Array(places);
    this.#skipped = new Uint16Array(places);
  }

  /** The shape of the frame `[start, end)` when it came before; `sender` is any number that its sender keeps. */
  find(view: DataView, start: number, end: number, sender: number): KnownFrame | undefined {
    const length = end - start;
    if (length < frameBytesMin) return undefined;
    const place = sampleOf(view, start, length, sender) & this.#mask;
    const known = this.#frames[place];
    if (known === undefined || known.length !== length || !known.is(view, start)) return undefined;
    this.#wasted[place] = this.#skipped[place] = 0;
    return known;
  }

  /** Keeps the shape of a frame that passed its scan, when one like it came just before. `scanAlone`: a scan of a copy. */
  note(scan: FrameScan, sender: number, scanAlone: (bytes: Uint8Array) => FrameScan): void {
    const { start, end } = scan;
    const length = end - start;
    if (length < frameBytesMin || scan.targetName === undefined || scan.sourceName === undefined) return;
    const sample = sampleOf(scan.view, start, length, sender);
    const place = sample & this.#mask;
    if (this.#once[place] !== sample) {
      this.#once[place] = sample;
      return;
    }
    const wasted = this.#wasted[place] ?? 0;
    const skipped = this.#skipped[place] ?? 0;
    // Shapes that take turns at one place would push each other out all the time.
    const isInUse = wasted === 0 && this.#frames[place] !== undefined;
    if (skipped < (isInUse ? inUseSkipped : (1 << wasted) - 1)) {
      this.#skipped[place] = skipped + 1;
      return;
    }
    this.#skipped[place] = 0;
    this.#wasted[place] = Math.min(wasted + 1, wastedMax);
    // `slice` of a Node buffer copies nothing: the shape would be whatever is read next into the same memory.
    this.#frames[place] = this.#shapeOf(new Uint8Array(scan.buf.subarray(start, end)), scanAlone);
  }

  #shapeOf(bytes: Uint8Array, scanAlone: (bytes: Uint8Array) => FrameScan): KnownFrame | undefined {
    const scan = scanAlone(bytes);
    const mls = this.#mls;
    const isPlain =
      scanMls(bytes, scan.payloadStart, scan.payloadEnd, mls) === undefined &&
      mls.wireFormat === MlsWireFormat.privateMessage &&
      scan.payloadEnd === bytes.length &&
      scan.gatewaysEnd === 0 &&
      (scan.expiresUnixMs === 0 || scan.expiresAt >= scan.messageIdEnd) &&
      mls.ciphertextStart <= shapeBytesMax;
    return isPlain ? new KnownFrame(bytes, scan, mls) : undefined;
  }
}

/** A hash of some of the bytes where the target is: shapes that share it take each other's place, which costs time only. */
function sampleOf(view: DataView, start: number, length: number, sender: number): number {
  const hash =
    Math.imul(view.getInt32(start + 20, true) ^ (length + Math.imul(sender, 0x9e3779b1)), 0x85ebca6b) ^
    Math.imul(view.getInt32(start + 28, true), 0xc2b2ae35) ^
    Math.imul(view.getInt32(start + 36, true), 0x27d4eb2f);
  return hash ^ (hash >>> 15);
}

const nothing = new Uint8Array(0);
/** Every frame with names, an id and MLS framing is longer. */
const frameBytesMin = 64;
/** Bytes up to the sealed content; frames with more in front of it are read field by field. */
const shapeBytesMax = 1_024;
/** Frames of another shape that come before one takes the place of a shape that came again. */
const inUseSkipped = 7;
/** After so many shapes in vain the next is kept of every 1,023rd frame. */
const wastedMax = 10;
