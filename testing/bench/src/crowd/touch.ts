/** A process that has memory and gives it back bit by bit, driven by the harness over IPC. See `reserve.ts`. */
import { pieceBytes, type ReserveCommand } from "./reserve.ts";

const pieces: ArrayBuffer[] = [];

process.on("disconnect", () => process.exit());
process.on("message", ({ take, giveBackEveryMs }: ReserveCommand) => {
  for (let i = 0; i < (take ?? 0); i++) {
    const piece = new ArrayBuffer(pieceBytes);
    const bytes = new Uint8Array(piece);
    for (let at = 0; at < pieceBytes; at += pageBytes) bytes[at] = 1;
    pieces.push(piece);
  }
  // What is detached is freed at once, without waiting for a collection.
  if (giveBackEveryMs !== undefined) setInterval(() => pieces.pop()?.transfer(0), giveBackEveryMs).unref();
  process.send?.({ did: "reserve" });
});

const pageBytes = 4_096;
