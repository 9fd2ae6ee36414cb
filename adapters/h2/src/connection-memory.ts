/** How V8 is told to take the memory of connections. */
import { setFlagsFromString } from "node:v8";

/**
 * Makes V8 weigh the memory of connections with the heap of the process, as its later versions do. For a process that
 * holds thousands of them; call it before the port starts.
 *
 * Node tells V8 about 100 KB for each TLS connection, and V8 13 begins a major collection with each 64 MB of what it is
 * told, whatever else there is: every 600th attachment would pay for marking the objects of all others.
 */
export function weighConnectionMemory(): void {
  // Others do it unasked or do not know the flag, about which they would complain on stderr.
  if (process.versions.v8.startsWith("13.")) setFlagsFromString("--external-memory-accounted-in-global-limit");
}
