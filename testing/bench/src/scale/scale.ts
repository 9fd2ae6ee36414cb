import type { Figures } from "../crowd/context.ts";
import type { BenchOptions } from "../options.ts";
import { messageOf, type Processes } from "../processes.ts";

/** Nanoseconds of a forwarding decision with a thousand and with a million entries. */
export async function measureScale(processes: Processes, options: BenchOptions): Promise<Figures> {
  const decisions = options.floodMs * 1_000;
  const figures: Record<string, number> = {};
  for (const entries of [1_000, 1_000_000]) {
    const child = processes.node(new URL("./forward.ts", import.meta.url), 0);
    try {
      const measured = messageOf(child, isMeasured, `a table of ${entries}`, 240_000);
      child.send({ entries, decisions });
      const { few, all } = await measured;
      figures[`forward ${entries} ns`] = few;
      figures[`forward ${entries} ns, ever other targets`] = all;
    } finally {
      await processes.end(child);
    }
  }
  return figures;
}

const isMeasured = (message: unknown): message is { readonly few: number; readonly all: number } =>
  typeof message === "object" && message !== null && "few" in message && "all" in message;
