/** A small world for tests: domains with real certificates, a delivery service in memory, agents with their stores. */
import { type AgentId, asUnixMs, refuse, type UnixMs } from "@causeway/core-base";
import type { TrustStore } from "@causeway/core-identity";
import { TestDomain, type TestIdentity, trustStateOf } from "@causeway/core-identity/testing";
import type { EndToEnd, EndToEndEvent, EndToEndOptions, GroupChange, Opened, SealedFrame } from "../api.ts";
import { createEndToEnd } from "../end-to-end.ts";
import { MemoryStateStore } from "../memory-store.ts";
import type { CommitAnswer, DeliveryPort, FetchedKeyPackage, MlsIdentity, MonotonicCounter } from "../ports.ts";

/** Delivery service with the semantics of the gateway: packages once, commits by compare-and-set. */
export class TestDelivery implements DeliveryPort {
  readonly packages = new Map<AgentId, { fresh: Uint8Array[]; lastResort: Uint8Array | undefined }>();
  readonly commits = new Map<string, { readonly first: bigint; readonly log: Uint8Array[] }>();
  /** Replaces the answer to a fetch. */
  onFetch: ((agent: AgentId) => FetchedKeyPackage | undefined) | undefined;
  /** Runs before a commit is looked at; may throw. */
  beforeSubmit: ((commit: Uint8Array) => Promise<void> | void) | undefined;
  /** Runs after a commit was stored; may throw, so that the answer is lost. */
  afterSubmit: (() => void) | undefined;
  submissions = 0;
  fetches = 0;
  /** False: messages of pairs pass no gateway. */
  orders = true;

  isOrdered(): boolean {
    return this.orders;
  }

  publish(agent: AgentId, published: { packages: readonly Uint8Array[]; lastResort: Uint8Array | undefined }): void {
    this.packages.set(agent, { fresh: [...published.packages], lastResort: published.lastResort });
  }

  async fetchKeyPackage(agent: AgentId): Promise<FetchedKeyPackage> {
    const replaced = this.onFetch?.(agent);
    if (replaced !== undefined) return replaced;
    const shelf = this.packages.get(agent);
    const fresh = shelf?.fresh.shift();
    if (fresh !== undefined) return { keyPackage: fresh, lastResort: false };
    if (shelf?.lastResort !== undefined) return { keyPackage: shelf.lastResort, lastResort: true };
    throw refuse("CAUSEWAY_E2EE_NO_KEY_PACKAGE", `${agent} has no key package left`);
  }

  async submitCommit(_owner: AgentId, groupId: Uint8Array, epoch: bigint, commit: Uint8Array): Promise<CommitAnswer> {
    this.submissions++;
    await this.beforeSubmit?.(commit);
    const id = Buffer.from(groupId).toString("hex");
    const group = this.commits.get(id) ?? { first: epoch, log: [] };
    this.commits.set(id, group);
    const at = Number(epoch - group.first);
    if (at !== group.log.length) {
      const winner = group.log[at];
      return winner === undefined ? { accepted: false } : { accepted: false, winner };
    }
    group.log.push(commit);
    this.afterSubmit?.();
    return { accepted: true };
  }

  async fetchHandshakes(_owner: AgentId, groupId: Uint8Array, fromEpoch: bigint): Promise<readonly Uint8Array[]> {
    this.fetches++;
    const group = this.commits.get(Buffer.from(groupId).toString("hex"));
    return group === undefined ? [] : group.log.slice(Number(fromEpoch - group.first));
  }
}

/** Counter in memory. */
export class TestCounter implements MonotonicCounter {
  value = 0;
  async read(): Promise<number> {
    return this.value;
  }
  async advance(value: number): Promise<void> {
    this.value = Math.max(this.value, value);
  }
}

export class TestAgent {
  readonly world: World;
  readonly identity: TestIdentity;
  readonly id: AgentId;
  readonly stateKey = new Uint8Array(32).fill(7);
  readonly events: EndToEndEvent[] = [];
  store = new MemoryStateStore();
  counter: TestCounter | undefined;
  e2ee: EndToEnd;

  constructor(world: World, identity: TestIdentity, e2ee: EndToEnd) {
    this.world = world;
    this.identity = identity;
    this.id = identity.spiffeId;
    this.e2ee = e2ee;
  }

  /** Opens the layer again on the stored state, as a new process would. */
  async restart(more: Partial<EndToEndOptions> = {}): Promise<void> {
    this.e2ee = await createEndToEnd(this.world.optionsOf(this, more));
  }

  async publish(count = 5): Promise<void> {
    this.world.delivery.publish(this.id, await this.e2ee.keyPackages(count));
  }

  /** Seals for a peer and opens there; gives what the peer read. */
  async send(to: TestAgent, text: string): Promise<string> {
    const opened = await to.receive(this, await this.e2ee.seal(to.id, bytes(text)));
    return textOf(opened);
  }

  /** Opens frames in order; gives the last result. */
  async receive(from: { readonly id: AgentId }, frames: readonly SealedFrame[]): Promise<Opened> {
    let last: Opened | undefined;
    for (const frame of frames) last = await this.e2ee.open(from.id, frame.securityContextId, frame.payload);
    if (last === undefined) throw new Error("there was no frame");
    return last;
  }

  refusals(): readonly string[] {
    return this.events.filter((each) => each.type === "message.refused").map((each) => each.code ?? "");
  }
}

export class World {
  now: UnixMs = asUnixMs(Date.now());
  readonly blue = new TestDomain("blue.example", { now: this.now });
  readonly green = new TestDomain("green.example", { now: this.now });
  readonly delivery = new TestDelivery();
  readonly trust: TrustStore = this.blue.store(this.green);
  readonly #agents: TestAgent[] = [];

  /** An agent of blue.example, or of green.example when its name starts so, with key packages published. */
  async agent(name: string, more: Partial<EndToEndOptions> & { packages?: number } = {}): Promise<TestAgent> {
    const agent = await this.unpublished(name, more);
    await agent.publish(more.packages);
    return agent;
  }

  async unpublished(name: string, more: Partial<EndToEndOptions> = {}): Promise<TestAgent> {
    const identity = name.startsWith("green.example/")
      ? this.green.identity(name.slice("green.example/".length))
      : this.blue.identity(name);
    // The layer needs the agent's store and events, the agent its layer.
    const agent = new TestAgent(this, identity, undefined as unknown as EndToEnd);
    agent.e2ee = await createEndToEnd(this.optionsOf(agent, more));
    this.#agents.push(agent);
    return agent;
  }

  optionsOf(agent: TestAgent, more: Partial<EndToEndOptions> = {}): EndToEndOptions {
    return {
      agentId: agent.id,
      mls: mlsOf(agent.identity),
      verifyLeaf: (chain) => this.trust.verifyChain(chain, { now: this.now, purpose: "mls" }),
      store: agent.store,
      stateKey: agent.stateKey,
      ...(agent.counter !== undefined && { counter: agent.counter }),
      delivery: this.delivery,
      clock: () => this.now,
      onEvent: (event) => agent.events.push(event),
      ...more,
    };
  }

  advance(ms: number): void {
    this.now = asUnixMs(this.now + ms);
  }

  /** Revokes the MLS certificate of an agent and tells every agent. */
  revoke(agent: TestAgent): void {
    const domain = agent.id.includes("green.example") ? this.green : this.blue;
    domain.revoke(this.trust.verifyChain(agent.identity.chain("mls"), { now: this.now, purpose: "mls" }));
    this.trust.replace(trustStateOf(this.blue, this.green));
    for (const each of this.#agents) each.e2ee.trustChanged();
  }
}

/** What `createEndToEnd` takes of an identity. */
export function mlsOf(identity: TestIdentity): MlsIdentity {
  const der = identity.keys.mls.privateKey.export({ format: "der", type: "pkcs8" });
  return { chain: identity.chain("mls"), privateKey: new Uint8Array(der.subarray(der.length - 32)) };
}

/** Hands the results of a group commit to whom they are for. */
export async function deliver(change: GroupChange, from: TestAgent, members: readonly TestAgent[]): Promise<void> {
  for (const frame of change.frames) {
    for (const member of members) {
      if (member !== from && !change.welcomes.some((each) => each.to === member.id))
        await member.receive(from, [frame]);
    }
  }
  for (const { to, frame } of change.welcomes) {
    const member = members.find((each) => each.id === to);
    if (member !== undefined) await member.receive(from, [frame]);
  }
}

/** Seals in a group and gives what each other member read. */
export async function broadcast(
  groupId: string,
  from: TestAgent,
  members: readonly TestAgent[],
  text: string,
): Promise<readonly string[]> {
  const frames = await from.e2ee.sealGroup(groupId, bytes(text));
  const read: string[] = [];
  for (const member of members) if (member !== from) read.push(textOf(await member.receive(from, frames)));
  return read;
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export function textOf(opened: Opened): string {
  if (opened.kind !== "application") throw new Error(`expected application data, got ${opened.change}`);
  return new TextDecoder().decode(opened.plaintext);
}
