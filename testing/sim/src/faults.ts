/** What goes wrong from outside until the world heals, drawn from the seed. */
import type { Disk, Gateway } from "./gateway.ts";
import { SeededRandom } from "./random.ts";
import type { World } from "./world.ts";

export class Faults {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #restart: (gateway: Gateway) => void;
  /** Directions that are blocked now, each once for each partition. */
  readonly #blocked: (readonly [string, string])[] = [];
  readonly #clogged: (readonly [number, 0 | 1])[] = [];
  /** Gateways whose restart is due. */
  readonly #down = new Map<Gateway, Disk>();
  #isOver = false;

  constructor(world: World, onRestart: (gateway: Gateway) => void) {
    this.#world = world;
    this.#restart = onRestart;
    this.#random = new SeededRandom(world.plan.seed, 3);
    world.onCrash = (gateway) => this.#planRestart(gateway);
  }

  start(): void {
    const { resetMs, partitionMs, clogMs, crashMs, diskFullMs } = this.#world.plan.faults;
    this.#repeat(resetMs, () => this.#reset());
    this.#repeat(partitionMs, () => this.#partition());
    this.#repeat(clogMs, () => this.#clog());
    this.#repeat(crashMs, () => this.#crash());
    this.#repeat(diskFullMs, () => this.#fillDisk());
  }

  /** Ends every fault and brings up what is down. Half-open connections remain to be noticed. */
  heal(): void {
    this.#isOver = true;
    this.#world.note(() => "the world heals");
    for (const [from, to] of this.#blocked.splice(0)) this.#world.fabric.unblock(from, to);
    for (const [id, side] of this.#clogged.splice(0)) this.#world.fabric.clog(id, side, false);
    for (const gateway of this.#world.gateways.values()) {
      gateway.lightFuse(undefined);
      gateway.isDiskFull = false;
      // A liar is replaced by an honest process with the same disk.
      if (gateway.tamper !== undefined) {
        gateway.tamper = undefined;
        gateway.crash(false);
      }
    }
    for (const gateway of this.#world.gateways.values()) if (!gateway.isUp) this.#start(gateway);
  }

  #repeat(meanMs: number | undefined, fault: () => void): void {
    if (meanMs === undefined) return;
    this.#world.queue.push(this.#world.now + this.#random.wait(meanMs), "fault", () => {
      if (this.#isOver) return;
      fault();
      this.#repeat(meanMs, fault);
    });
  }

  #reset(): void {
    const random = this.#random;
    const wire = random.pickOr(this.#world.fabric.open());
    if (wire === undefined) return;
    const isHalf = random.chance(this.#world.plan.faults.halfOpen);
    const told = isHalf
      ? random.pick([
          [true, false],
          [false, true],
          [false, false],
        ] as const)
      : ([true, true] as const);
    this.#world.note(() => `${wire.kind} ${wire.ends.join("-")} is reset${isHalf ? ", half-open" : ""}`);
    this.#world.fabric.reset(wire.id, told);
  }

  /** One node is cut off from some others, for at least half a second. */
  #partition(): void {
    const random = this.#random;
    const names = [...this.#world.gateways.keys(), ...this.#world.agents.keys()];
    const cut = random.pick(names);
    const others = names.filter((name) => name !== cut && random.chance(0.6));
    const directions = random.chance(this.#world.plan.faults.asymmetric)
      ? random.pick([
          [true, false],
          [false, true],
        ] as const)
      : ([true, true] as const);
    const blocked = others.flatMap((other): (readonly [string, string])[] => [
      ...(directions[0] ? [[cut, other] as const] : []),
      ...(directions[1] ? [[other, cut] as const] : []),
    ]);
    this.#world.note(() => `partition: ${blocked.map((pair) => pair.join(">")).join(" ")}`);
    for (const pair of blocked) {
      this.#blocked.push(pair);
      this.#world.fabric.block(...pair);
    }
    this.#world.queue.push(this.#world.now + 500 + random.wait(4_000), "a partition ends", () => {
      for (const pair of blocked) {
        const at = this.#blocked.indexOf(pair);
        if (at < 0) continue;
        this.#blocked.splice(at, 1);
        this.#world.fabric.unblock(...pair);
      }
    });
  }

  #clog(): void {
    const wire = this.#random.pickOr(this.#world.fabric.open());
    if (wire === undefined) return;
    const entry = [wire.id, this.#random.pick([0, 1] as const)] as const;
    this.#world.note(() => `${wire.kind} ${wire.ends.join("-")} is clogged`);
    this.#clogged.push(entry);
    this.#world.fabric.clog(...entry, true);
    this.#world.queue.push(this.#world.now + this.#random.wait(this.#random.pick([800, 4_000])), "a clog ends", () => {
      const at = this.#clogged.indexOf(entry);
      if (at < 0) return;
      this.#clogged.splice(at, 1);
      this.#world.fabric.clog(...entry, false);
    });
  }

  #crash(): void {
    const random = this.#random;
    const { faults } = this.#world.plan;
    const gateway = random.pick([...this.#world.gateways.values()]);
    if (!gateway.isUp) return;
    if (random.chance(0.5)) gateway.rememberDisk();
    if (random.chance(faults.midEffects)) gateway.lightFuse(random.between(0, 6));
    else gateway.crash(random.chance(faults.silentCrash));
  }

  #fillDisk(): void {
    const { queue, gateways } = this.#world;
    const gateway = this.#random.pick([...gateways.values()]);
    this.#world.note(() => `the disk of ${gateway.name} is full`);
    gateway.isDiskFull = true;
    queue.push(this.#world.now + this.#random.wait(1_500), `there is room on the disk of ${gateway.name}`, () => {
      gateway.isDiskFull = false;
    });
  }

  #planRestart(gateway: Gateway): void {
    if (this.#isOver) return;
    const random = this.#random;
    const { faults } = this.#world.plan;
    const disk: Disk = random.chance(faults.lostDisk) ? "lost" : random.chance(faults.olderDisk) ? "older" : "kept";
    this.#down.set(gateway, disk);
    this.#world.queue.push(this.#world.now + random.wait(2_500), `${gateway.name} restarts`, () => {
      if (!gateway.isUp) this.#start(gateway);
    });
  }

  #start(gateway: Gateway): void {
    gateway.start(this.#down.get(gateway) ?? "kept");
    this.#down.delete(gateway);
    this.#restart(gateway);
  }
}
