/** A world with bystanders: two agents of two domains who talk while somebody else misbehaves. */
import type { Agent } from "@causeway/agent/node";
import { expect } from "vitest";
import { startWorld, until, type World } from "../world.ts";
import { ServiceLog } from "./service-log.ts";

/** Last segment of the name of everybody who misbehaves; what has it is not looked at for side effects. */
export const culprit = "mallory";

type Operator = World["network"]["operators"][number];
type GatewayConfig = Operator["config"]["gateways"][number];
type Admin = ReturnType<Operator["gateway"]>;

export class Scene implements AsyncDisposable {
  readonly world: World;
  readonly alice: Agent;
  readonly bob: Agent;
  readonly #admins = new Map<string, Admin>();
  /** When each attachment began, as it was first told. */
  readonly #since = new Map<string, bigint>();
  #exchanges = 0;

  private constructor(world: World, alice: Agent, bob: Agent) {
    this.world = world;
    this.alice = alice;
    this.bob = bob;
  }

  static async start(options: Parameters<typeof startWorld>[0] = {}): Promise<Scene> {
    const world = await startWorld(options);
    try {
      const [alice, bob] = await Promise.all([
        world.agent("blue.example/people/alice"),
        world.agent("green.example/people/bob"),
      ]);
      for (const agent of [alice, bob]) agent.onRequest("echo", (request) => request.data);
      await Promise.all([alice, bob].map((agent) => agent.register(profile(agent.id))));
      await until("both to know each other", async () => {
        // By name: searches have a rate, which waiting on a busy machine uses up.
        const found = await Promise.all(
          [alice, bob].flatMap((asker) => [alice, bob].map(({ id }) => asker.lookup(id))),
        );
        return found.every((match) => match !== undefined);
      });
      const scene = new Scene(world, alice, bob);
      await scene.exchange();
      return scene;
    } catch (thrown) {
      await world[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** A request and its answer in both directions, through the four gateways. */
  async exchange(): Promise<void> {
    const data = { exchange: ++this.#exchanges };
    const [there, back] = await Promise.all([
      this.alice.request(this.bob.id, { method: "echo", data }),
      this.bob.request(this.alice.id, { method: "echo", data }),
    ]);
    expect([there.data, back.data]).toEqual([data, data]);
  }

  /**
   * Runs `attack` and shows that it had no other effect: the bystanders talk before, during and after it; attachments,
   * routes, neighbours, topics, what can be found, and the processes stay the same.
   */
  async harmless<T>(attack: () => Promise<T>): Promise<T> {
    const before = await this.observe();
    const [result] = await Promise.all([attack(), this.exchange()]);
    await this.exchange();
    expect(await this.observe()).toEqual(before);
    return result;
  }

  /** What operators and bystanders see of the network, without times, counters and what is the culprit's own. */
  async observe(): Promise<unknown> {
    const { network, supervisor } = this.world;
    const [known, gateways] = await Promise.all([
      this.#known(),
      Promise.all(
        network.operators.flatMap((operator) =>
          operator.config.gateways.map((gateway) =>
            observeGateway(this.#admin(operator, gateway), gateway, (attachment, ms) => this.#began(attachment, ms)),
          ),
        ),
      ),
    ]);
    return {
      known,
      gateways,
      processes: supervisor.services.map(({ name, pid, restarts }) => ({ name, pid, restarts })),
    };
  }

  /** Two clocks make this time, so that the same one comes out a little earlier or later. */
  #began(attachment: string, sinceUnixMs: bigint): bigint {
    const known = this.#since.get(attachment);
    if (known !== undefined && Math.abs(Number(sinceUnixMs - known)) <= clockNoiseMs) return known;
    this.#since.set(attachment, sinceUnixMs);
    return sinceUnixMs;
  }

  /** The log of a service, from now on. */
  log(service: string): ServiceLog {
    return new ServiceLog(this.world, service);
  }

  /** What each bystander's registry says of both. By name, since searches have a rate that tests would use up. */
  async #known(): Promise<unknown> {
    const pairs = [this.alice, this.bob].flatMap((asker) => [this.alice, this.bob].map(({ id }) => ({ asker, id })));
    return await Promise.all(
      pairs.map(async ({ asker, id }) => {
        const { status, gateway, path, card } = (await asker.lookup(id)) ?? {};
        return { asker: asker.id, id, status, gateway, path, card };
      }),
    );
  }

  #admin(operator: Operator, gateway: GatewayConfig): Admin {
    const admin = this.#admins.get(gateway.url) ?? operator.gateway(gateway);
    this.#admins.set(gateway.url, admin);
    return admin;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
  }
}

async function observeGateway(
  admin: Admin,
  { uri }: GatewayConfig,
  began: (attachment: string, sinceUnixMs: bigint) => bigint,
): Promise<unknown> {
  const [{ attachments }, { routes }, { peers }, { topics }] = await Promise.all([
    admin.listAttachments({}),
    admin.listRoutes({}),
    admin.listPeers({}),
    admin.listTopics({}),
  ]);
  return {
    uri,
    attachments: innocent(
      attachments.map(({ agentId, instance, state, sinceUnixMs }) => ({
        agentId,
        instance,
        state,
        sinceUnixMs: began(`${uri} ${agentId} ${instance}`, sinceUnixMs),
      })),
    ),
    routes: innocent(routes.map(({ reason: _reason, ...route }) => route)),
    peers: innocent(
      peers.map(({ gatewayUri, gatewayId, level, syncState, linkState, certificateSha256 }) => ({
        gatewayUri,
        gatewayId,
        level,
        syncState,
        linkState,
        certificateSha256,
      })),
    ),
    topics: innocent(topics),
  };
}

/** The entries that are not the culprit's, as text in one order. */
const innocent = (entries: readonly object[]): string[] =>
  entries
    .map((entry) =>
      JSON.stringify(entry, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
    )
    .filter((text) => !text.includes(culprit))
    .sort();

const profile = (name: string) => ({
  name,
  description: "Minds its own business",
  version: "1",
  skills: [{ id: "echo", description: "Says it again" }],
});

const clockNoiseMs = 50;
