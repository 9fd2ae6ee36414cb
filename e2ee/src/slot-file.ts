/**
 * One value in one file that is written very often: two slots, of which each write takes the other one. A write is one
 * system call and no new file; one that was cut off leaves the value before it. At most one former value stays on disk.
 */
import { closeSync, fdatasync, openSync, readFileSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";

/** The value in a file's bytes; undefined when no slot is whole. A file of another kind is a value as it is. */
export function readSlots(bytes: Uint8Array): Uint8Array | undefined {
  if (!isSlotFile(bytes)) return bytes;
  return newest(bytes)?.value;
}

/** Bytes of a new slot file that holds `value`. */
export function slotFileOf(value: Uint8Array): Uint8Array {
  const slotBytes = capacityFor(value.length);
  const bytes = Buffer.alloc(headBytes + 2 * slotBytes);
  bytes.write(magic, 0, "latin1");
  bytes.writeUInt32BE(slotBytes, 4);
  slotOf(1, value).copy(bytes, headBytes);
  return bytes;
}

/** An open slot file. */
export class SlotFile {
  readonly #fd: number;
  readonly #slotBytes: number;
  #sequence: number;
  #slot: number;
  /** A descriptor that is closed under a sync is another file's a moment later. */
  #syncs = 0;
  #isClosing = false;

  private constructor(fd: number, slotBytes: number, sequence: number, slot: number) {
    this.#fd = fd;
    this.#slotBytes = slotBytes;
    this.#sequence = sequence;
    this.#slot = slot;
  }

  /** Undefined when there is no slot file at `path`. */
  static open(path: string): SlotFile | undefined {
    let fd: number;
    try {
      fd = openSync(path, "r+");
    } catch {
      // Whatever is the matter, a new file will show it.
      return undefined;
    }
    const bytes = readFileSync(fd);
    const last = isSlotFile(bytes) ? newest(bytes) : undefined;
    if (last !== undefined) return new SlotFile(fd, bytes.readUInt32BE(4), last.sequence, last.slot);
    closeSync(fd);
    return undefined;
  }

  /** False when the value is too large for this file. */
  write(value: Uint8Array): boolean {
    if (slotHeadBytes + value.length > this.#slotBytes) return false;
    const slot = 1 - this.#slot;
    const bytes = slotOf(this.#sequence + 1, value);
    writeSync(this.#fd, bytes, 0, bytes.length, headBytes + slot * this.#slotBytes);
    this.#sequence++;
    this.#slot = slot;
    return true;
  }

  /** Resolves when what was written survives the loss of power. */
  sync(): Promise<void> {
    this.#syncs++;
    return new Promise((resolve, reject) => {
      fdatasync(this.#fd, (error) => {
        this.#syncs--;
        if (this.#isClosing && this.#syncs === 0) closeSync(this.#fd);
        if (error) reject(error);
        else resolve();
      });
    });
  }

  /** Closes it when nothing is being synced any more. It is not written to again. */
  close(): void {
    this.#isClosing = true;
    if (this.#syncs === 0) closeSync(this.#fd);
  }
}

function slotOf(sequence: number, value: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(slotHeadBytes + value.length);
  bytes.writeUInt32BE(value.length, 4);
  bytes.writeDoubleBE(sequence, 8);
  bytes.set(value, slotHeadBytes);
  bytes.writeUInt32BE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

function isSlotFile(bytes: Uint8Array): boolean {
  return bytes.length >= headBytes && Buffer.from(bytes.subarray(0, 4)).toString("latin1") === magic;
}

function newest(
  file: Uint8Array,
): { readonly value: Uint8Array; readonly sequence: number; readonly slot: number } | undefined {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length);
  const slotBytes = bytes.readUInt32BE(4);
  let best: { readonly value: Uint8Array; readonly sequence: number; readonly slot: number } | undefined;
  for (const slot of [0, 1]) {
    const start = headBytes + slot * slotBytes;
    if (start + slotHeadBytes > bytes.length) continue;
    const end = start + slotHeadBytes + bytes.readUInt32BE(start + 4);
    if (end > start + slotBytes || end > bytes.length) continue;
    const sequence = bytes.readDoubleBE(start + 8);
    if (sequence < 1 || crc32(bytes.subarray(start + 4, end)) !== bytes.readUInt32BE(start)) continue;
    if (best === undefined || sequence > best.sequence)
      best = { value: new Uint8Array(bytes.subarray(start + slotHeadBytes, end)), sequence, slot };
  }
  return best;
}

/** Room to grow, so that few values need a new file. */
function capacityFor(length: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(256, 2 * (length + slotHeadBytes))));
}

const magic = "CWS1";
const headBytes = 16;
/** Checksum, length, sequence. */
const slotHeadBytes = 16;
