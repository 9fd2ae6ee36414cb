import type { FrameMemory } from "@causeway/core-wire";
import { ChunkPool } from "./chunk-pool.ts";
import type { PortSocket } from "./port-socket.ts";
import type { Flushable, Turn } from "./turn.ts";

/**
 * Memory for what is received, used again with every turn of the event loop: a fresh buffer for each read is what the
 * garbage collector of a relay is busy with otherwise. Bytes are valid until the output of their turn has been framed;
 * whoever keeps them longer copies them.
 */
export class ReadMemory implements Flushable, FrameMemory {
  /** Where `keep` has put the last bytes. */
  kept: Uint8Array = nothing;
  readonly #turn: Turn;
  readonly #arenas: Uint8Array[] = [];
  #arena = 0;
  #used = 0;
  readonly #chunks = new ChunkPool();
  readonly #returned: Buffer[] = [];
  #isScheduled = false;

  constructor(turn: Turn) {
    this.#turn = turn;
  }

  /** Copies bytes `first` to `last` of `from`, at most 256 KiB. Answers where in `kept` they begin. */
  keep(from: Uint8Array, first: number, last: number): number {
    this.#schedule();
    const length = last - first;
    if (this.#used + length > arenaBytes) {
      this.#arena += 1;
      this.#used = 0;
      if (this.#arena >= arenasKept) this.#turn.hurry();
    }
    let arena = this.#arenas[this.#arena];
    if (arena === undefined) {
      arena = Buffer.allocUnsafeSlow(arenaBytes);
      this.#arenas[this.#arena] = arena;
    }
    const start = this.#used;
    this.#used += length;
    copyBytes.call(from, arena, start, first, last);
    if (this.kept !== arena) this.kept = arena;
    return start;
  }

  /** For a frame that straddles reads. */
  take(bytes: number): Uint8Array {
    return bytes < pooledBytesMin || bytes > chunkBytes
      ? Buffer.allocUnsafeSlow(bytes)
      : this.#chunks.take(chunkBytes, chunkBytes);
  }

  giveBack(memory: Uint8Array): void {
    if (memory.length !== chunkBytes || !Buffer.isBuffer(memory)) return;
    this.#schedule();
    this.#returned.push(memory);
  }

  /** The turn is over: everything is free again. */
  flush(): void {
    this.#isScheduled = false;
    this.#arena = this.#used = 0;
    this.#arenas.length = Math.min(this.#arenas.length, arenasKept);
    for (const chunk of this.#returned.splice(0)) this.#chunks.giveBack(chunk);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#turn.addLast(this);
  }
}

/**
 * Reads from a socket into memory that all sockets share, so that a read allocates nothing; `receive` gets bytes that
 * are valid for the call. node:net has this for clients (`onread`), and tls.Server no way to ask for it: the option is set
 * where the constructor of net.Socket would have put it. On a Node that keeps it elsewhere, `data` events do.
 */
export function readShared(
  socket: PortSocket,
  receive: (memory: Uint8Array, start: number, end: number) => void,
): void {
  const inner = socket as unknown as Record<symbol, unknown> & {
    readonly _handle?: { useUserBuffer?(memory: Uint8Array): void } | null;
  };
  const { buffer, callback } = (places ??= placesOf(inner));
  if (buffer === undefined || callback === undefined || typeof inner._handle?.useUserBuffer !== "function") {
    socket.on("data", (chunk: Uint8Array) => receive(chunk, 0, chunk.length));
    return;
  }
  inner[buffer] = shared;
  inner[callback] = (length: number): true => {
    receive(shared, 0, length);
    return true;
  };
  inner._handle.useUserBuffer(shared);
  // For the end to be seen.
  socket.resume();
}

/** Where net.Socket keeps the option. */
function placesOf(socket: object): { readonly buffer: symbol | undefined; readonly callback: symbol | undefined } {
  const symbols = Object.getOwnPropertySymbols(socket);
  const named = (name: string): symbol | undefined => symbols.find((symbol) => symbol.description === name);
  return { buffer: named("kBuffer"), callback: named("kBufferCb") };
}

let places: ReturnType<typeof placesOf> | undefined;
const nothing = new Uint8Array(0);
const copyBytes = Buffer.prototype.copy;
const chunkBytes = 65_536;
const arenaBytes = 262_144;
/** 4 MiB. */
const arenasKept = 16;
/** Shorter frames get memory of their own: a connection that stops inside one holds on to no more than it. */
const pooledBytesMin = 4_096;
/** TLS hands out at most 16 KiB at once. */
const shared = Buffer.allocUnsafeSlow(65_536);
