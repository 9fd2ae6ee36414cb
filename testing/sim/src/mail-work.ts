/** What agents with mailboxes do until the world heals: they send, open streams, go away, come back, move and die. */
import type { Agent } from "./agent.ts";
import type { Wants } from "./endpoint.ts";
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
    for (const agent of this.#world.agents.values()) this.#arrive(agent);
    this.#repeat(plan.sendMs, () => this.#send(plan));
    this.#repeat(plan.lifeMs, () => this.#live(plan));
    if (plan.streamMs !== undefined) this.#repeat(plan.streamMs, () => this.#open());
  }

  /** Everybody who is away comes back, and nobody does anything any more. */
  stop(): void {
    this.#isOver = true;
    if (this.#world.plan.limits.mail === undefined) return;
    for (const agent of this.#world.agents.values()) this.#arrive(agent);
  }

  #arrive(agent: Agent): void {
    agent.awake();
    if (!agent.lives.has("main")) agent.launch("main", this.#random.shuffled(agent.plan.homes));
  }

  #repeat(meanMs: number, deed: () => void): void {
    const { queue } = this.#world;
    queue.push(this.#world.now + this.#random.wait(meanMs), "mail work", () => {
      if (this.#isOver) return;
      deed();
      this.#repeat(meanMs, deed);
    });
  }

  #send({ timeoutsMs, storedMs }: MailPlan): void {
    const random = this.#random;
    const [from, to] = this.#pair();
    const lane = `${from.name}.${from.endpoint?.run} ${to.name} ${random.between(0, 1)}`;
    const wants = random.pick<Wants>(["nothing", "notice", "stored", "stored"]);
    for (let i = random.pick([1, 1, 2, 6]); i > 0; i--)
      from.endpoint?.send(
        to.agentId,
        lane,
        { kind: "note" },
        wants,
        random.pick(wants === "stored" ? [...timeoutsMs, storedMs] : timeoutsMs),
      );
  }

  #open(): void {
    const [from, to] = this.#pair();
    from.endpoint?.streams.open(to.agentId, this.#random.pick([100, 60_000, 200_000, 400_000]));
  }

  #live({ absenceMs }: MailPlan): void {
    const random = this.#random;
    const agent = random.pick([...this.#world.agents.values()]);
    const life = agent.lives.get("main");
    // It comes back by itself.
    if (life === undefined) return;
    const deed = random.pick(["move", "jump", "leave", "vanish", "die"] as const);
    if (deed === "die") agent.endpoint?.die();
    if (deed === "move" || deed === "leave") life.end();
    else life.vanish(random.chance(0.4));
    if (deed === "move" || deed === "jump") return this.#arrive(agent);
    this.#world.queue.push(this.#world.now + random.wait(absenceMs), `${agent.name} comes back`, () =>
      this.#arrive(agent),
    );
  }

  #pair(): readonly [Agent, Agent] {
    const [from, to] = this.#random.shuffled([...this.#world.agents.values()]);
    if (from === undefined || to === undefined) throw new Error("expected at least two agents");
    return [from, to];
  }
}
