/** What gateways and agents do on their own account until the world heals, drawn from the seed. */
import { shortName } from "@causeway/core-base";
import type { InterestTopic } from "@causeway/core-records";
import { TargetKind } from "@causeway/core-wire";
import { type Agent, type AgentLife, registeredRecordOf, type Target } from "./agent.ts";
import type { Gateway } from "./gateway.ts";
import { MailWork } from "./mail-work.ts";
import { SeededRandom } from "./random.ts";
import type { World } from "./world.ts";

/** A wish of an edge gateway, by its text. */
export const wishes = {
  all: { all: true },
  open: { tags: ["open"] },
  shop: { agentIds: ["spiffe://blue.example/shop", "spiffe://green.example/shop"] },
} as const satisfies Record<string, Partial<InterestTopic>>;

export type Wish = keyof typeof wishes;

export class Work {
  readonly #world: World;
  readonly #random: SeededRandom;
  /** What each edge gateway is subscribed to; told again after a restart. */
  readonly wants = new Map<string, Map<Wish, bigint>>();
  readonly #mail: MailWork;
  #isOver = false;

  constructor(world: World) {
    this.#world = world;
    this.#mail = new MailWork(world);
    this.#random = new SeededRandom(world.plan.seed, 4);
  }

  start(): void {
    const { plan } = this.#world;
    if (plan.limits.mail !== undefined) {
      // Edge gateways follow the agents that they have messages for.
      for (const gateway of this.#gateways())
        if (gateway.plan.role === "level1")
          this.wants.set(gateway.name, new Map([["all", this.#subscribe(gateway, "all")]]));
      return this.#mail.start(plan.limits.mail);
    }
    if (plan.kind === "agents") {
      for (const agent of this.#world.agents.values()) agent.launch("main", agent.plan.homes);
      this.#repeat(plan.messageMs, () => this.#message());
    }
    this.#repeat(plan.workMs, () => (plan.kind === "sync" ? this.#syncDeed() : this.#agentDeed()));
  }

  stop(): void {
    this.#isOver = true;
    this.#mail.stop();
  }

  /** After a restart a gateway's users subscribe again. */
  renew(gateway: Gateway): void {
    const wants = this.wants.get(gateway.name);
    for (const wish of wants?.keys() ?? []) wants?.set(wish, this.#subscribe(gateway, wish));
  }

  #repeat(meanMs: number, deed: () => void): void {
    const { queue } = this.#world;
    queue.push(this.#world.now + this.#random.wait(meanMs), "work", () => {
      if (this.#isOver) return;
      deed();
      this.#repeat(meanMs, deed);
    });
  }

  #syncDeed(): void {
    const random = this.#random;
    const agent = random.pick([...this.#world.agents.values()]);
    const gateway = random.pickOr(this.#gateways().filter((g) => g.plan.domain === agent.plan.domain));
    const deed = random.pick(["announce", "announce", "status", "status", "withdraw", "revise", "wish"] as const);
    if (deed === "wish") return this.#wish();
    if (deed === "revise") return agent.revise();
    gateway?.sync?.input((machine) => {
      const held = machine.routes(agent.agentId).find((route) => route.via === "local");
      const now = gateway.now();
      const status = random.pick(["online", "degraded", "offline"] as const);
      if (deed === "announce" || held === undefined) {
        const registered = registeredRecordOf(agent);
        machine.announce(now, { registered, status, attachmentSequence: BigInt(random.between(1, 50)) });
      } else if (deed === "status") machine.setStatus(now, agent.agentId, status);
      else machine.withdraw(now, agent.agentId);
    });
  }

  #agentDeed(): void {
    const random = this.#random;
    const agent = random.pick([...this.#world.agents.values()]);
    const life = random.pickOr([...agent.lives.values()]);
    const homes = random.shuffled(agent.plan.homes);
    if (random.chance(0.1)) return this.#wish();
    if (life === undefined) return agent.launch("main", homes);
    switch (
      random.pick(["move", "jump", "vanish", "end", "second", "condition", "revise", "topic", "topic"] as const)
    ) {
      case "move":
        life.end();
        return this.#relaunch(agent, life, homes);
      case "jump":
        life.vanish(random.chance(0.5));
        return this.#relaunch(agent, life, homes);
      case "vanish":
        return life.vanish(random.chance(0.5));
      case "end":
        return life.end();
      case "second":
        return agent.lives.has("second") ? undefined : agent.launch("second", homes);
      case "condition":
        return life.setCondition(random.pick(["running", "degraded"]));
      case "revise":
        return agent.revise();
      case "topic":
        return random.chance(0.7) ? life.subscribe(this.#pattern()) : life.unsubscribe(this.#pattern());
    }
  }

  #relaunch(agent: Agent, life: AgentLife, homes: readonly string[]): void {
    agent.launch(life.instance, homes);
    for (const topic of life.topics) agent.lives.get(life.instance)?.subscribe(topic);
  }

  #message(): void {
    const random = this.#random;
    const life = random.pick([...this.#world.agents.values()]).attached();
    if (life === undefined) return;
    const target = this.#target();
    const ttl = random.chance(0.8) ? 16 : random.between(1, 4);
    const source = random.chance(0.04) ? random.pick([...this.#world.agents.values()]).agentId : life.agent.agentId;
    const id = life.send(target, ttl, source);
    if (id === undefined) return;
    this.#world.tell("sent", life, { id, target, ttl, isForged: source !== life.agent.agentId });
    this.#world.note(() => `${life.agent.name} sends ${id.slice(-6)} to ${target.name}, TTL ${ttl}`);
  }

  #target(): Target {
    const random = this.#random;
    const agent = random.pick([...this.#world.agents.values()]);
    if (random.chance(0.35)) return { kind: TargetKind.topic, name: `${shortName(agent.agentId)}/news` };
    if (random.chance(0.1)) return { kind: TargetKind.prefix, name: `spiffe://${agent.plan.domain}/shop` };
    if (random.chance(0.1)) return { kind: TargetKind.agent, name: `${agent.agentId}/@main` };
    return { kind: TargetKind.agent, name: agent.agentId };
  }

  #pattern(): string {
    const agent = this.#random.pick([...this.#world.agents.values()]);
    return this.#random.chance(0.3) ? `${agent.plan.domain}/*` : `${shortName(agent.agentId)}/news`;
  }

  #wish(): void {
    const random = this.#random;
    const gateway = random.pickOr(this.#gateways().filter((g) => g.plan.role === "level1"));
    if (gateway === undefined) return;
    const wants = this.wants.get(gateway.name) ?? new Map<Wish, bigint>();
    this.wants.set(gateway.name, wants);
    const wish = random.pick(["all", "open", "shop"] as const);
    const held = wants.get(wish);
    if (held === undefined) wants.set(wish, this.#subscribe(gateway, wish));
    else {
      wants.delete(wish);
      gateway.sync?.input((machine) => machine.unsubscribe(gateway.now(), held));
    }
    this.#world.note(() => `${gateway.name} wants ${[...wants.keys()].join(", ") || "nothing"}`);
  }

  #subscribe(gateway: Gateway, wish: Wish): bigint {
    let id = 0n;
    gateway.sync?.input((machine) => {
      id = machine.subscribe(gateway.now(), wishes[wish]);
    });
    return id;
  }

  #gateways(): readonly Gateway[] {
    return [...this.#world.gateways.values()].filter((g) => g.isUp && g.plan.role !== "reader");
  }
}
