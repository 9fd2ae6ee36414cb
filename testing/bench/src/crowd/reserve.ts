/**
 * Memory that the machine has already, for measurements that write gigabytes of files. The host of a virtual machine may
 * take back what is free there (free page reporting) and provides each page anew when it is touched, which takes longer
 * than a message: whoever finds pages that somebody else has just given back looks twice as fast. So a process touches
 * memory before, and gives it back at the speed at which files grow while either system is measured.
 */
import { freemem } from "node:os";
import { messageOf, type Processes } from "../processes.ts";

/** What is touched and given back at once. */
export const pieceBytes = 32 * 1_048_576;

/** To the process that has the memory. */
export interface ReserveCommand {
  /** Pieces to touch. */
  readonly take?: number;
  /** Gives back a piece each time so many milliseconds have passed. */
  readonly giveBackEveryMs?: number;
}

/** Runs `work` with memory for `forMs` milliseconds of writing files, which it asks to be given back from then on. */
export async function withReserve<T>(
  processes: Processes,
  forMs: number,
  work: (giveBack: () => Promise<void>) => Promise<T>,
): Promise<T> {
  // On neither's core alone: wherever there is room.
  const child = processes.node(new URL("./touch.ts", import.meta.url), "any");
  const ask = async (command: ReserveCommand): Promise<void> => {
    const done = messageOf(child, isDone, "the reserve of memory", touchMsMax);
    child.send(command);
    await done;
  };
  try {
    await ask({ take: Math.floor(Math.min(forMs / everyMs, freemem() / 4 / pieceBytes)) });
    return await work(() => ask({ giveBackEveryMs: everyMs }));
  } finally {
    await processes.end(child);
  }
}

const isDone = (message: unknown): message is { readonly did: "reserve" } =>
  typeof message === "object" && message !== null && "did" in message && message.did === "reserve";

/** 400 MB a second. */
const everyMs = 80;
const touchMsMax = 120_000;
