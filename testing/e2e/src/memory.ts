/** Looks for bytes in everything that a Linux process has in memory. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";

const chunkBytes = 16 * 1024 * 1024;

/** How often any of `needles` occurs in the readable private memory of a process. */
export function countInMemory(pid: number, needles: readonly Buffer[]): number {
  const overlap = Math.max(...needles.map((needle) => needle.length)) - 1;
  const memory = openSync(`/proc/${pid}/mem`, "r");
  let found = 0;
  try {
    for (const [start, end] of readableRegions(pid)) {
      for (let at = start; at < end; at += chunkBytes - overlap) {
        const chunk = Buffer.alloc(Math.min(chunkBytes, end - at));
        const length = readRegion(memory, chunk, at);
        for (const needle of needles) {
          for (let i = chunk.indexOf(needle); i >= 0 && i + needle.length <= length; i = chunk.indexOf(needle, i + 1))
            found += 1;
        }
      }
    }
  } finally {
    closeSync(memory);
  }
  return found;
}

function readableRegions(pid: number): [number, number][] {
  const regions: [number, number][] = [];
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \d+\s*(.*)$/.exec(line);
    const [, start, end, name = ""] = match ?? [];
    if (start === undefined || end === undefined || name.startsWith("[v")) continue;
    regions.push([Number.parseInt(start, 16), Number.parseInt(end, 16)]);
  }
  return regions;
}

/** Regions come and go while one reads; what is gone counts as empty. */
function readRegion(memory: number, into: Buffer, position: number): number {
  try {
    return readSync(memory, into, 0, into.length, position);
  } catch {
    return 0;
  }
}
