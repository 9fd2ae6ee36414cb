/** How V8 takes the memory of connections. */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { h2Limits } from "./limits.ts";

/**
 * Makes V8 weigh the memory of connections with all that the process has, where there is room for it; answers whether it
 * does. For a process that holds thousands of connections; call it before its port starts.
 *
 * Node tells V8 about 112 KB for each TLS connection, most of which is never touched, and V8 13 begins a major
 * collection with each 64 MB of what it is told, whatever else there is: every 600th attachment would pay for marking
 * the objects of all others. Weighed, what it is told counts against a ceiling of twice the heap's limit, and close to
 * that V8 would collect without pause. So it is done only when the heap can be full and all connections there without
 * reaching it: with the default of 20,000 from a limit of 2.4 GB on, which Node takes by itself on 16 GB of memory.
 */
export function weighConnectionMemory(sessionsMax = h2Limits.sessionsMax): boolean {
  // Of another V8 neither the flag nor the ceiling is known.
  const isKnown = process.versions.v8.startsWith("13.");
  const hasRoom = sessionsMax * toldBytes <= getHeapStatistics().heap_size_limit;
  if (isKnown && hasRoom) setFlagsFromString("--external-memory-accounted-in-global-limit");
  return isKnown && hasRoom;
}

/** What V8 is told of a connection: the estimate of node:tls for OpenSSL, and 64 KB for reading. */
const toldBytes = 120_000;
