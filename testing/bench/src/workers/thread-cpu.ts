/** CPU time of the threads of a process, from /proc. Linux only. */
import { readdirSync, readFileSync } from "node:fs";
import { cpuSecondsIn } from "../processes.ts";

/** CPU-seconds so far: of the main thread, of the IO workers together, and of all others (compiler, garbage collector). */
export interface ThreadCpu {
  readonly main: number;
  readonly workers: number;
  readonly others: number;
}

/** Reads the threads of `pid`. */
export function threadCpuOf(pid: number): ThreadCpu {
  const cpu = { main: 0, workers: 0, others: 0 };
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const seconds = cpuSecondsIn(`/proc/${pid}/task/${tid}/stat`) ?? 0;
    const isWorker = readFileSync(`/proc/${pid}/task/${tid}/comm`, "utf8").startsWith("causeway-io-");
    cpu[Number(tid) === pid ? "main" : isWorker ? "workers" : "others"] += seconds;
  }
  return cpu;
}
