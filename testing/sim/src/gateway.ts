/** One gateway or reader: its machines while it is up, and what survives when it is not. */
import type { AgentId, GatewayUri, Instant, Now } from "@causeway/core-base";
import { ForwardingTable } from "@causeway/core-forwarding";
import type { SyncPolicy } from "@causeway/core-sync";
import { MemorySyncStore } from "@causeway/core-sync/testing";
import type { amsp } from "@causeway/core-wire";
import { MemoryMailboxStore } from "@causeway/testing-contracts/memory-mailbox-store";
import { AttachSide } from "./attach-side.ts";
import { LocalClock } from "./clock.ts";
import { DataSide } from "./data-side.ts";
import type { Pipe } from "./fabric.ts";
import type { Facts } from "./facts.ts";
import { gatewayIdentity, registryIdentity, type SimIdentity } from "./identities.ts";
import { MailSide } from "./mail-side.ts";
import type { GatewayPlan, Limits } from "./plan.ts";
import type { SeededRandom } from "./random.ts";
import type { Surroundings } from "./surroundings.ts";
import { SyncSide } from "./sync-side.ts";

/** Which disk a gateway restarts with. */
export type Disk = "kept" | "older" | "lost";

export class Gateway {
  readonly plan: GatewayPlan;
  readonly world: Surroundings;
  readonly facts: Facts;
  readonly random: SeededRandom;
  readonly identity: SimIdentity;
  readonly uri: GatewayUri;
  readonly limits: Limits;
  readonly policy: SyncPolicy;
  store = new MemorySyncStore();
  mailStore = new MemoryMailboxStore();
  table: ForwardingTable;
  /** Undefined while the process is down. */
  sync: SyncSide | undefined;
  attach: AttachSide | undefined;
  data: DataSide | undefined;
  /** Only in worlds with mailboxes. */
  mail: MailSide | undefined;
  /** Number of the process; grows with each start. */
  life = 0;
  /** Changes what leaves for a peer; set while this gateway misbehaves. */
  tamper: ((message: amsp.Message, to: Gateway) => amsp.Message) | undefined;
  /** Its mailboxes' disk takes nothing, over restarts as well. */
  #isDiskFull = false;
  /** Effects that are still performed before the process dies. */
  #fuse: number | undefined;
  #clock: LocalClock;
  #older: MemorySyncStore | undefined;
  readonly #onCrash: (gateway: Gateway) => void;

  constructor(
    plan: GatewayPlan,
    limits: Limits,
    world: Surroundings,
    facts: Facts,
    random: SeededRandom,
    onCrash: (gateway: Gateway) => void,
  ) {
    this.plan = plan;
    this.limits = limits;
    this.world = world;
    this.facts = facts;
    this.random = random;
    this.#onCrash = onCrash;
    this.identity = plan.role === "reader" ? registryIdentity(plan.domain) : gatewayIdentity(plan.domain, plan.name);
    this.uri = (this.identity.peer.gateway?.uri ?? this.identity.peer.spiffeId) as GatewayUri;
    this.policy = policyOf(plan);
    this.#clock = this.#wound();
    this.table = this.#freshTable();
  }

  get name(): string {
    return this.plan.name;
  }

  get isUp(): boolean {
    return this.sync !== undefined;
  }

  now(): Now {
    return this.#clock.at(this.world.now);
  }

  /** When a local deadline is reached, in time of the world; never in its past. */
  timeOf(deadline: Instant): number {
    return Math.max(this.world.now, this.#clock.worldTimeOf(deadline));
  }

  /** The name of another gateway, for traces and lookups. */
  short(uri: string): string {
    return this.world.gatewayOf(uri)?.name ?? uri;
  }

  /** True while an attachment of the agent, live or stale, is here. */
  holds(agentId: AgentId): boolean {
    return this.attach?.machine.attachments().some((each) => each.agentId === agentId) ?? false;
  }

  /** True when the first way to the agent is another gateway, where it is not away. */
  isElsewhere(agentId: AgentId): boolean {
    const entry = this.table.entryOf(agentId);
    const first = entry?.ways[0];
    return first?.peer !== undefined && first.isUsable && first.status < statusOffline && entry?.live.length === 0;
  }

  start(disk: Disk = "kept"): void {
    this.life += 1;
    this.#fuse = undefined;
    this.#clock = this.#wound();
    this.table = this.#freshTable();
    if (disk === "lost") {
      this.store = new MemorySyncStore();
      // A new store begins with an epoch greater than that of any lost one: the time.
      this.store.own = { epoch: BigInt(this.now().unix), sequence: 0n };
    } else if (disk === "older" && this.#older !== undefined) {
      this.store = this.#older.copy();
    }
    this.world.note(() => `${this.name} starts, disk ${disk}`);
    this.world.tell("restarted", this, disk);
    this.sync = new SyncSide(this);
    if (this.plan.role !== "reader") {
      this.attach = new AttachSide(this);
      this.data = new DataSide(this);
      const { mail } = this.limits;
      if (mail !== undefined) this.mail = new MailSide(this, mail);
    }
    this.world.fabric.listen(this.name, (pipe) => this.#accept(pipe));
    this.sync.start();
    this.attach?.start();
    this.data?.start();
    this.mail?.start();
  }

  /** Remembers the disk as it is now, for a restart with an older one. */
  rememberDisk(): void {
    this.#older = this.store.copy();
  }

  crash(isSilent: boolean): void {
    if (!this.isUp) return;
    this.world.note(() => `${this.name} crashes${isSilent ? " and tells nobody" : ""}`);
    this.sync?.stop();
    this.attach?.stop();
    this.data?.stop();
    this.mail?.stop();
    this.sync = this.attach = this.data = this.mail = undefined;
    this.mailStore = this.mailStore.afterCrash();
    this.isDiskFull = this.#isDiskFull;
    this.#fuse = undefined;
    this.world.fabric.crash(this.name, isSilent);
    this.#onCrash(this);
  }

  get isDiskFull(): boolean {
    return this.#isDiskFull;
  }

  set isDiskFull(isFull: boolean) {
    this.#isDiskFull = isFull;
    this.mailStore.failure = isFull ? new Error("the disk is full") : undefined;
  }

  /** The process dies after so many more effects; undefined for no such fate. */
  lightFuse(effects: number | undefined): void {
    this.#fuse = effects;
  }

  /** One more effect may be performed; false when the process has just died. */
  burn(): boolean {
    if (!this.isUp) return false;
    if (this.#fuse === undefined) return true;
    if (this.#fuse-- > 0) return true;
    this.crash(false);
    return false;
  }

  #accept(pipe: Pipe): boolean {
    if (pipe.kind === "sync") return this.sync?.accept(pipe) ?? false;
    if (pipe.kind === "data") return this.data?.accept(pipe) ?? false;
    return this.attach?.accept(pipe) ?? false;
  }

  #wound(): LocalClock {
    return new LocalClock(this.world.now, 1_000_000 * (this.life + 1), this.plan.clock);
  }

  #freshTable(): ForwardingTable {
    return new ForwardingTable({ self: this.uri, domain: this.plan.domain });
  }
}

/** `RouteStatus` of an agent that is away. */
const statusOffline = 3;

/** An export filter by tag, when the plan has one: what carries the tag does not leave the domain. */
function policyOf(plan: GatewayPlan): SyncPolicy {
  const { secretTag } = plan;
  if (secretTag === undefined) return {};
  return {
    exports: (record, peer) =>
      peer.domain !== plan.domain && record.tags.includes(secretTag) ? { denied: `${secretTag} stays here` } : true,
  };
}
