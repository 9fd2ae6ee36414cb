/** One seed: draw, run with faults, heal, demand convergence. A failure is run again with its trace on. */

import { Traffic } from "./checkers/data.ts";
import { mailCheckers, safetyCheckers } from "./checkers/index.ts";
import { Ledger } from "./checkers/ledger.ts";
import { demandConvergence } from "./convergence.ts";
import { planFor } from "./directed.ts";
import { SimFailure } from "./failure.ts";
import { Faults } from "./faults.ts";
import { startImpostor } from "./impostor.ts";
import { Liar } from "./liar.ts";
import { planText } from "./plan.ts";
import { Work } from "./work.ts";
import { World } from "./world.ts";
import type { WorldName } from "./world-names.ts";

export interface Outcome {
  readonly seed: number;
  /** One line: what the seed drew. */
  readonly plan: string;
  readonly steps: number;
  /** End of the run in virtual time. */
  readonly virtualMs: number;
  readonly failure?: {
    readonly checker: string;
    readonly what: string;
    readonly atMs: number;
    /** The last events before the failure. */
    readonly trace: readonly string[];
  };
}

/** Runs one seed. The same arguments give the same outcome, always. A failure comes with its trace unless `isTraced` is false. */
export function runSeed(seed: number, name?: WorldName, isTraced = true): Outcome {
  const outcome = attempt(seed, name, 0);
  return outcome.failure === undefined || !isTraced ? outcome : attempt(seed, name, traceLinesMax);
}

/** Runs one seed and keeps the whole trace. */
export function traceSeed(
  seed: number,
  name?: WorldName,
): { readonly outcome: Outcome; readonly trace: readonly string[] } {
  const lines: string[] = [];
  const outcome = attempt(seed, name, Number.MAX_SAFE_INTEGER, lines);
  return { outcome, trace: lines };
}

function attempt(seed: number, name: WorldName | undefined, traceMax: number, into?: string[]): Outcome {
  const plan = planFor(seed, name);
  const world = new World(plan, traceMax);
  const base = (): Omit<Outcome, "failure"> => ({
    seed,
    plan: planText(plan),
    steps: world.steps,
    virtualMs: world.now,
  });
  try {
    play(world);
    return base();
  } catch (thrown) {
    if (!(thrown instanceof SimFailure)) throw thrown;
    const trace = world.lines ?? [];
    return {
      ...base(),
      failure: { checker: thrown.checker, what: thrown.message, atMs: world.now, trace: trace.slice(-traceLinesMax) },
    };
  } finally {
    into?.push(...(world.lines ?? []));
  }
}

function play(world: World): void {
  const { plan } = world;
  const work = new Work(world);
  const traffic = new Traffic();
  world.watchBy([...safetyCheckers(world, work), traffic]);
  const ledger = plan.limits.mail === undefined ? undefined : new Ledger();
  if (ledger !== undefined) world.watchBy(mailCheckers(world, ledger));
  const faults = new Faults(world, (gateway) => work.renew(gateway));
  for (const gateway of world.gateways.values()) world.act(() => gateway.start());
  if (plan.liar !== undefined) new Liar(world, world.gateway(plan.liar)).start();
  world.act(() => work.start());
  if (plan.hasImpostor && plan.kind === "agents") startImpostor(world);
  world.act(() => faults.start());
  world.run(plan.faultMs);
  world.act(() => {
    work.stop();
    faults.heal();
  });
  demandConvergence(world, work, traffic, ledger);
}

/** Lines of a failure's trace. */
const traceLinesMax = 100;
