/**
 * A world of gateways and agents in virtual time. One event at a time: the next of the queue runs to its end, with every
 * effect that follows, and then every checker looks. Nothing in here knows what time it really is.
 */
import type { VerifiedPeer } from "@causeway/core-identity";
import { Agent } from "./agent.ts";
import { EventQueue } from "./event-queue.ts";
import { Fabric } from "./fabric.ts";
import { Facts } from "./facts.ts";
import { SimFailure } from "./failure.ts";
import { Gateway } from "./gateway.ts";
import { agentIdentity } from "./identities.ts";
import { Packets } from "./packets.ts";
import type { Plan } from "./plan.ts";
import { SeededRandom } from "./random.ts";
import type { Checker, Surroundings, Watch } from "./surroundings.ts";

export class World implements Surroundings {
  readonly plan: Plan;
  readonly queue = new EventQueue();
  readonly fabric: Fabric;
  readonly facts = new Facts();
  readonly packets = new Packets();
  readonly gateways = new Map<string, Gateway>();
  readonly agents = new Map<string, Agent>();
  readonly checkers: Checker[] = [];
  now = 0;
  steps = 0;
  /** Lines of the trace when it is on. */
  readonly lines: string[] | undefined;
  /** Called when a gateway's process dies, however it came about. */
  onCrash: (gateway: Gateway) => void = () => undefined;
  readonly #touched = new Set<Gateway>();
  readonly #byUri = new Map<string, Gateway>();
  readonly #linesMax: number;
  readonly #listeners = new Map<keyof Watch, Checker[]>();

  /** `traceMax`: how many of the last lines are kept; 0 for no trace. */
  constructor(plan: Plan, traceMax: number) {
    this.plan = plan;
    this.#linesMax = traceMax;
    this.lines = traceMax > 0 ? [] : undefined;
    this.fabric = new Fabric(
      this.queue,
      () => this.now,
      {
        sync: new SeededRandom(plan.seed, 20),
        data: new SeededRandom(plan.seed, 21),
        attach: new SeededRandom(plan.seed, 22),
      },
      plan.fabric,
    );
    plan.gateways.forEach((each, i) => {
      const random = new SeededRandom(plan.seed, 100 + i);
      const gateway = new Gateway(each, plan.limits, this, this.facts, random, (dead) => this.onCrash(dead));
      this.gateways.set(gateway.name, gateway);
      this.#byUri.set(gateway.uri, gateway);
    });
    plan.agents.forEach((each, i) => {
      this.agents.set(each.name, new Agent(each, plan.limits, this, new SeededRandom(plan.seed, 200 + i)));
    });
  }

  watchBy(checkers: readonly Checker[]): void {
    this.checkers.push(...checkers);
    this.#listeners.clear();
  }

  tell<K extends keyof Watch>(hook: K, ...args: Parameters<NonNullable<Watch[K]>>): void {
    let listeners = this.#listeners.get(hook);
    if (listeners === undefined) {
      listeners = this.checkers.filter((checker) => checker[hook] !== undefined);
      this.#listeners.set(hook, listeners);
    }
    for (const checker of listeners) (checker[hook] as (...given: typeof args) => void).apply(checker, args);
  }

  note(line: () => string): void {
    if (this.lines === undefined) return;
    this.lines.push(`${(this.now / 1_000).toFixed(3).padStart(9)} ${line()}`);
    if (this.lines.length > this.#linesMax) this.lines.splice(0, this.lines.length - this.#linesMax);
  }

  touch(gateway: Gateway): void {
    this.#touched.add(gateway);
  }

  gateway(name: string): Gateway {
    const gateway = this.gateways.get(name);
    if (gateway === undefined) throw new Error(`no gateway ${name}`);
    return gateway;
  }

  gatewayOf(uri: string): Gateway | undefined {
    return this.#byUri.get(uri);
  }

  agentPeer(name: string): VerifiedPeer {
    const agent = this.agents.get(name);
    if (agent !== undefined) return agent.identity.peer;
    const [first] = this.plan.gateways;
    if (first === undefined) throw new Error("expected a world with gateways");
    return agentIdentity(first.domain, `shop/${name}`).peer;
  }

  fail(checker: string, what: string): never {
    throw new SimFailure(checker, what);
  }

  /** Runs everything that is due until then. */
  run(until: number): void {
    for (let event = this.queue.take(until); event !== undefined; event = this.queue.take(until)) {
      this.now = Math.max(this.now, event.at);
      this.steps += 1;
      if (this.steps > stepsMax) this.fail("comes-to-rest", `more than ${stepsMax} events, the last ${event.label}`);
      this.act(event.run);
    }
    this.now = until;
  }

  /** Does something and lets every checker look at what came of it. */
  act(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      if (thrown instanceof SimFailure) throw thrown;
      throw new SimFailure(
        "machine-never-throws",
        thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
      );
    }
    this.tell("stepped", this.#touched);
    this.#touched.clear();
  }
}

/** Far above what the busiest world needs. */
const stepsMax = 400_000;
