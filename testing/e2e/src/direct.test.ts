/** Direct links between agents of one domain: real agents, real gateways that die and come back, and raw attempts. */
import { createServer } from "node:net";
import { join } from "node:path";
import { type Agent, type ConnectOptions, connect } from "@causeway/agent/node";
import { dialLink } from "@causeway/agent/transports";
import { domainOf, type Log, parseAgentId } from "@causeway/core-base";
import { agp, encodeFrame, encodeMessageFrame, type FrameInit } from "@causeway/core-wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Supervisor } from "../../../apps/cli/src/processes/supervisor.ts";
import { configOf, enrol, Forger } from "./adversary/credentials.ts";
import { describeGateway, startGateway } from "./adversary/extra-gateway.ts";
import { type LinkOwner, ownerOf } from "./adversary/wire-link.ts";
import { startWorld, until as untilWithin, type World } from "./world.ts";

let world: World;
/** A gateway of the domain that forbids direct links. */
let strictUrl: string;
/** A gateway that the tests kill and start again. */
let gateway: MortalGateway;
const agents = new AsyncDisposableStack();

beforeAll(async () => {
  world = await startWorld();
  strictUrl = await startGateway(world, { name: "blue.example/strict", gatewayUse: "always" });
  gateway = await MortalGateway.start("blue.example/mortal");
}, 120_000);

afterAll(async () => {
  await agents.disposeAsync();
  await gateway?.kill();
  await world?.[Symbol.asyncDispose]();
});

class MortalGateway {
  readonly url: string;
  readonly #args: readonly string[];
  readonly #name: string;
  #supervisor: Supervisor;

  private constructor(name: string, args: readonly string[], supervisor: Supervisor, url: string) {
    this.#name = name;
    this.#args = args;
    this.#supervisor = supervisor;
    this.url = url;
  }

  static async start(name: string): Promise<MortalGateway> {
    const listen = new URL(await freeUrl()).host;
    const args = await describeGateway(world, { name, listen });
    const supervisor = new Supervisor();
    const { url } = await supervisor.start({ name, args, logFile: world.home.logFile(name) });
    return new MortalGateway(name, args, supervisor, url);
  }

  async kill(): Promise<void> {
    const pids = this.#supervisor.services.map(({ pid }) => pid);
    const stopped = this.#supervisor.stop();
    for (const pid of pids) if (pid !== undefined) process.kill(pid, "SIGKILL");
    await stopped;
  }

  async restart(): Promise<void> {
    this.#supervisor = new Supervisor();
    await this.#supervisor.start({ name: this.#name, args: this.#args, logFile: world.home.logFile(this.#name) });
  }
}

/** An address on which nothing listens now. */
async function freeUrl(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `https://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
}

type Lines = { readonly event: string; readonly code: unknown }[];

/** A log that a test reads. */
function recorder(): { readonly log: Log; readonly lines: Lines } {
  const lines: Lines = [];
  const note = (event: string, facts?: Readonly<Record<string, unknown>>): void =>
    void lines.push({ event, code: facts?.["code"] });
  const log = { debug: note, info: note, warn: note, error: note } as unknown as Log;
  return { log, lines };
}

async function agent(name: string, more: Partial<ConnectOptions> = {}): Promise<Agent & { readonly taken: unknown[] }> {
  const operator = world.network.operators.find(({ config }) => config === configOf(world, name));
  const connected = await connect({
    name,
    dataDir: join(world.home.directory, "direct", name),
    masterKeyFile: world.home.masterKeyFile,
    gateway:
      domainOf(parseAgentId(name)) === "blue.example" ? gateway.url : (configOf(world, name).gateways[0]?.url ?? ""),
    registry: configOf(world, name).registry?.url ?? "",
    token: (await operator?.agentToken(name)) ?? "",
    ...more,
  });
  agents.use(connected);
  const taken: unknown[] = [];
  connected.onMessage(({ data }) => void taken.push(data));
  return Object.assign(connected, { taken });
}

const profile = { name: "N", description: "d", version: "1", skills: [{ id: "hear", description: "Hears" }] };
const listens = { listen: { host: "127.0.0.1", port: 0 } };
const urlOf = (of: Agent): string => of.status().direct.listening ?? "";
/** Gateways start and agents come back; on a busy machine that takes a while. */
const until = (what: string, attempt: () => Promise<boolean> | boolean): Promise<void> =>
  untilWithin(what, attempt, 90_000);
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: { code?: string }) => error.code ?? String(error),
  );

describe("inside a domain", () => {
  test("prefer survives the death of the gateway in the middle of a channel, and its return [ANA-6] [ANA-96]", async () => {
    const bob = await agent("blue.example/prefer/bob", { direct: listens });
    const alice = await agent("blue.example/prefer/alice");
    await alice.send(bob.id, 0);
    await until("alice to know where bob listens", () => alice.status().direct.known === 1);
    expect(alice.status().direct.links).toEqual([]);

    const count = 300;
    const sent: Promise<unknown>[] = [];
    const send = (to: number): void => {
      for (let n = sent.length + 1; n <= to; n++) sent.push(alice.send(bob.id, n, { timeoutMs: 120_000 }));
    };
    send(100);
    await until("some of them", () => bob.taken.length > 20);
    const dead = gateway.kill();
    send(200);
    await dead;
    await until("both without a gateway", () => [alice, bob].every((each) => each.status().state === "reconnecting"));
    await Promise.all(sent);
    expect(alice.status().direct.links).toMatchObject([{ peer: bob.id, dialled: true }]);
    bob.onRequest("where", () => bob.status().state);
    expect((await alice.request(bob.id, { method: "where" })).data).toBe("reconnecting");

    await gateway.restart();
    send(count);
    await until("both attached again", () => [alice, bob].every((each) => each.status().state === "attached"));
    await Promise.all(sent);
    await alice.send(bob.id, count + 1);
    expect(bob.taken).toEqual(Array.from({ length: count + 2 }, (_, n) => n));
  }, 180_000);

  test("never goes directly from the first contact on, and says so when there is no direct way [ANA-96]", async () => {
    const bob = await agent("blue.example/never/bob", { direct: listens });
    const green = await agent("green.example/never/carol");
    await green.register(profile);
    const direct = { peers: { [bob.id]: urlOf(bob) } };
    const alice = await agent("blue.example/never/alice", { gatewayUse: "never", direct });
    await alice.send(bob.id, "inside");
    expect(alice.status().direct).toMatchObject({ gatewayUse: "never", links: [{ peer: bob.id }] });
    const deaf = await agent("blue.example/never/deaf");
    expect(await codeOf(alice.send(deaf.id, "x"))).toBe("CAUSEWAY_DIRECT_NO_WAY");
    await until("a way to the other domain", () =>
      alice.send(green.id, "outside").then(
        () => true,
        () => false,
      ),
    );
    expect([bob.taken, deaf.taken, green.taken]).toEqual([["inside"], [], ["outside"]]);
  }, 90_000);

  test("always waits for the gateway, though it knows where the other one listens [ANA-96]", async () => {
    const bob = await agent("blue.example/always/bob", { direct: listens });
    // Known to the gateway also before bob has come back to it.
    await bob.register(profile);
    const direct = { peers: { [bob.id]: urlOf(bob) } };
    const alice = await agent("blue.example/always/alice", { gatewayUse: "always", direct });
    await alice.send(bob.id, 1);
    await gateway.kill();
    await until("alice without a gateway", () => alice.status().state === "reconnecting");
    const late = alice.send(bob.id, 2, { timeoutMs: 120_000 });
    expect(await codeOf(alice.send(bob.id, "given up", { timeoutMs: 1_500 }))).toBe("CAUSEWAY_UNREACHABLE");
    expect([bob.taken, bob.status().direct.links]).toEqual([[1], []]);
    await gateway.restart();
    await late;
    expect(bob.taken).toEqual([1, 2]);
  }, 180_000);

  test("a domain that says always has no listeners and no direct links, whatever its agents want [ANA-96]", async () => {
    const url = await freeUrl();
    const port = Number(new URL(url).port);
    const at = { gateway: strictUrl };
    const bob = await agent("blue.example/strict/bob", { ...at, direct: { listen: { host: "127.0.0.1", port } } });
    const alice = await agent("blue.example/strict/alice", { ...at, direct: { peers: { [bob.id]: url } } });
    await alice.send(bob.id, "through the gateway");
    expect(bob.status().direct).toMatchObject({ gatewayUse: "always", listening: undefined, links: [] });
    const owner = ownerOf(await enrol(world, "blue.example/strict/caller"));
    expect(await codeOf(dial(url, owner))).toBe("CAUSEWAY_UNREACHABLE");
    const never = await agent("blue.example/strict/never", {
      ...at,
      gatewayUse: "never",
      direct: { peers: { [bob.id]: url } },
    });
    expect(await codeOf(never.send(bob.id, "x"))).toBe("CAUSEWAY_DIRECT_NOT_ALLOWED");
    expect(bob.taken).toEqual(["through the gateway"]);
  }, 90_000);
});

/** A link by hand to whoever listens there as an agent. */
function dial(url: string, { tls, trust }: LinkOwner): ReturnType<typeof dialLink> {
  return dialLink({ url, identity: () => tls, trust, expect: { roles: ["agent"] } }, AbortSignal.timeout(10_000));
}

describe("from outside", () => {
  test("a valid certificate of another domain, of a gateway or of nobody gets no direct link, and a log line tells [ANA-95]", async () => {
    const { log, lines } = recorder();
    const bob = await agent("blue.example/outside/bob", { direct: listens, log });
    const green = ownerOf(await enrol(world, "green.example/outside/carol"));
    expect(await codeOf(dial(urlOf(bob), green))).toBe("CAUSEWAY_DIRECT_NOT_ALLOWED");
    const keeper = await enrol(world, "blue.example/outside/forger");
    const forger = await Forger.open(world, keeper.identity);
    const asGateway = forger.gateway("blue.example/gateway/odd", "https://odd.blue.example/amsp", 1);
    expect(await codeOf(dial(urlOf(bob), { ...ownerOf(keeper), tls: asGateway.tls }))).toBe(
      "CAUSEWAY_IDENTITY_ROLE_WRONG",
    );
    const refused = lines.filter(({ event }) => event === "h2.session_refused").map(({ code }) => code);
    expect(refused).toEqual(["CAUSEWAY_DIRECT_NOT_ALLOWED", "CAUSEWAY_IDENTITY_ROLE_WRONG"]);
    expect(bob.status().direct.links).toEqual([]);
  }, 90_000);

  test("the SDK dials nobody of another domain, and keeps no link to who is not the one it wants [ANA-95]", async () => {
    const carol = await agent("green.example/outside/listener", { direct: listens });
    const bob = "blue.example/outside/nobody";
    const foreign = { direct: { peers: { [carol.id]: urlOf(carol) } } };
    expect(await codeOf(agent("blue.example/outside/careless", foreign))).toBe("CAUSEWAY_DIRECT_NOT_ALLOWED");
    const alice = await agent("blue.example/outside/alice", {
      gatewayUse: "never",
      direct: { peers: { [bob]: urlOf(carol) } },
    });
    expect(await codeOf(alice.send(bob, "x", { timeoutMs: 5_000 }))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
    expect([alice.status().direct.links, carol.status().direct.links]).toEqual([[], []]);
  }, 90_000);

  test("an agent of the domain that says anything but its own word loses its link, and nobody else notices [ANA-95]", async () => {
    const { log, lines } = recorder();
    const bob = await agent("blue.example/hostile/bob", { direct: listens, log });
    const friend = await agent("blue.example/hostile/friend", {
      gatewayUse: "never",
      direct: { peers: { [bob.id]: urlOf(bob) } },
    });
    const mallory = ownerOf(await enrol(world, "blue.example/hostile/mallory"));
    const hello: FrameInit = { case: "directHello", value: { source: mallory.spiffeId, target: bob.id } };
    const message = (source: string, target: string): Uint8Array => {
      const header = { targetKind: agp.TargetKind.AGENT, source, target, messageId: new Uint8Array(16) };
      return encodeMessageFrame(header, Uint8Array.of(0, 1, 0, 2));
    };
    const told = async (...frames: readonly Uint8Array[]): Promise<string> => {
      const link = await dial(urlOf(bob), mallory);
      const ended = new Promise<string>((resolve) => link.onClose((error) => resolve(error?.code ?? "none")));
      link.onFrames(() => undefined);
      for (const frame of frames) link.send(frame);
      return ended;
    };
    const greeting = encodeFrame(hello);
    expect(await told(message(mallory.spiffeId, bob.id))).toBe("CAUSEWAY_FRAME_UNEXPECTED");
    expect(await told(greeting, message(friend.id, bob.id))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
    expect(await told(greeting, message(mallory.spiffeId, friend.id))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
    const asFriend: FrameInit = { case: "directHello", value: { source: friend.id, target: bob.id } };
    expect(await told(encodeFrame(asFriend))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
    expect(await told(greeting, encodeFrame({ case: "attachHello", value: { agentId: bob.id } }))).toBe(
      "CAUSEWAY_FRAME_UNEXPECTED",
    );
    for (let seed = 1; seed <= 20; seed++) {
      const noise = Uint8Array.from({ length: 40 }, (_, i) => (seed * 37 + i * i * 101) & 0xff);
      expect(await told(greeting, noise)).toMatch(/^CAUSEWAY_(FRAME|HEADER|FORWARDING)_/);
    }
    expect(lines.filter(({ event }) => event === "agent.direct_refused").length).toBeGreaterThanOrEqual(25);
    await friend.send(bob.id, "as ever");
    expect(bob.taken).toEqual(["as ever"]);
  }, 90_000);
});
