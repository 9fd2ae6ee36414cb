/** Ctrl-C: the first asks to end, a later one ends at once. */
import { constants } from "node:os";

/** A terminal, npm and a shell may each pass on one Ctrl-C; what comes within this time is the same one. */
const sameRequestMs = 1_000;

const signals = ["SIGINT", "SIGTERM"] as const;

/** What a shell expects of a program that a signal ended. */
export const exitCodeOf = (signal: NodeJS.Signals): number => 128 + (constants.signals[signal] ?? 0);

/** Resolves with the signal at the first request to end. From then on a further one, a second later, ends the process. */
export function interruption(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let firstAt: number | undefined;
    for (const name of signals) {
      process.on(name, () => {
        const now = performance.now();
        if (firstAt !== undefined && now - firstAt > sameRequestMs) process.exit(exitCodeOf(name));
        firstAt ??= now;
        resolve(name);
      });
    }
  });
}
