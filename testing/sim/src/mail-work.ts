/** What agents with mailboxes do until the world heals: they send, open streams, go away, come back, move and die. */
import type { Agent } from "./agent.ts";
import { addressOf, type Endpoint } from "./endpoint.ts";
import type { MailPlan } from "./mail-plan.ts";
import { SeededRandom } from "./random.ts";
import type { World } from "./world.ts";

export class MailWork {
  readonly #world: World;
  readonly #random: SeededRandom;
  #isOver = false;

  constructor(world: World) {
    this.#world = world;
    this.#random = new SeededRandom(world.plan.seed, 8);
  }

  start(plan: MailPlan): void {
    for (const agent of this.#world.agents.values()) this.#arrive(agent, plan.instances);
    this.#repeat(plan.sendMs, () => this.#send(plan));
    this.#repeat(plan.lifeMs, () => this.#live(plan));
    if (plan.operatorMs !== undefined) this.#repeat(plan.operatorMs, () => this.#operate());
    if (plan.streamMs !== undefined) this.#repeat(plan.streamMs, () => this.#open(plan));
  }

  /** Everybody who is away comes back, and nobody does anything any more. */
  stop(): void {
    this.#isOver = true;
    const { mail } = this.#world.plan.limits;
    if (mail === undefined) return;
    for (const agent of this.#world.agents.values()) this.#arrive(agent, mail.instances);
  }

  #arrive(agent: Agent, instances: readonly string[]): void {
    for (const instance of instances) {
      agent.awake(instance);
      if (!agent.lives.has(instance)) agent.launch(instance, this.#random.shuffled(agent.plan.homes));
    }
  }

  #repeat(meanMs: number, deed: () => void): void {
    const { queue } = this.#world;
    queue.push(this.#world.now + this.#random.wait(meanMs), "mail work", () => {
      if (this.#isOver) return;
      deed();
      this.#repeat(meanMs, deed);
    });
  }

  #send(plan: MailPlan): void {
    const { timeoutsMs, storedMs } = plan;
    const random = this.#random;
    const [from, to] = this.#pair();
    const endpoint = this.#endpointOf(from, plan);
    const address = addressOf(to, plan, this.#one(plan.instances));
    const lane = `${from.name}.${endpoint?.run} ${address} ${random.between(0, 1)}`;
    const wants = random.pick(plan.wants);
    for (let i = random.pick([1, 1, 2, 6]); i > 0; i--)
      endpoint?.send(
        address,
        lane,
        { kind: "note" },
        wants,
        random.pick(wants === "stored" ? [...timeoutsMs, storedMs] : timeoutsMs),
      );
  }

  #open(plan: MailPlan): void {
    const [from, to] = this.#pair();
    const address = addressOf(to, plan, this.#one(plan.instances));
    this.#endpointOf(from, plan)?.streams.open(address, this.#random.pick([100, 60_000, 200_000, 400_000]));
  }

  #live(plan: MailPlan): void {
    const random = this.#random;
    const agent = random.pick([...this.#world.agents.values()]);
    const instance = this.#one(plan.instances);
    const life = agent.lives.get(instance);
    // It comes back by itself.
    if (life === undefined) return;
    const deed = random.pick(["move", "jump", "leave", "vanish", "die"] as const);
    if (deed === "die") agent.endpoints.get(instance)?.die();
    if (deed === "move" || deed === "leave") life.end();
    else life.vanish(random.chance(0.4));
    if (deed === "move" || deed === "jump") return this.#arrive(agent, [instance]);
    this.#world.queue.push(this.#world.now + random.wait(plan.absenceMs), `${agent.name} comes back`, () =>
      this.#arrive(agent, [instance]),
    );
  }

  /** Puts dead letters back, or deletes dead letters, or everything, of one agent. */
  #operate(): void {
    const random = this.#random;
    const gateway = random.pick([...this.#world.gateways.values()]);
    const { agentId } = random.pick([...this.#world.agents.values()]);
    const deed = random.pick(["replay", "replay", "replay", "purge dead", "purge all"] as const);
    gateway.mail?.operate(deed, agentId);
  }

  #endpointOf(agent: Agent, { instances }: MailPlan): Endpoint | undefined {
    return agent.endpoints.get(this.#one(instances));
  }

  /** Where there is only one it is not drawn. */
  #one(instances: readonly string[]): string {
    return instances.length === 1 ? (instances[0] ?? "") : this.#random.pick(instances);
  }

  #pair(): readonly [Agent, Agent] {
    const [from, to] = this.#random.shuffled([...this.#world.agents.values()]);
    if (from === undefined || to === undefined) throw new Error("expected at least two agents");
    return [from, to];
  }
}
