/** A standard HTTP/2 proxy before a gateway: passing TLS through changes nothing, ending it is refused with a sentence. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type IdentityKeeper, loadIdentity, openKeyVault, type TlsIdentity } from "@causeway/adapter-keys";
import { connect } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { enrol, identityIn } from "./adversary/credentials.ts";
import { haproxyTools, type Proxy, type ProxyKind, startProxy } from "./networks/haproxy.ts";
import { generate, pythonGrpc, StockAgent } from "./stock-grpc/python.ts";
import { startWorld, type World } from "./world.ts";

const tools = haproxyTools();
const python = pythonGrpc();
if ("missing" in tools) process.stderr.write(`proxies are not tested: ${tools.missing}\n`);

describe.skipIf("missing" in tools)("haproxy before a gateway", { timeout: 120_000 }, () => {
  const name = "blue.example/proxied/agent";
  let world: World;
  let other: IdentityKeeper;
  let proxies = 0;

  const before = (proxy: ProxyKind): Promise<Proxy> => {
    if ("missing" in tools) throw new Error(tools.missing);
    const target = world.network.configs[0].gateways[0]?.url ?? "";
    return startProxy(tools.env, join(world.home.directory, `proxy-${++proxies}`), target, proxy);
  };
  const through = (proxy: Proxy) =>
    connect({
      name,
      dataDir: world.home.agentDirectory(name),
      masterKeyFile: world.home.masterKeyFile,
      gateway: proxy.url,
      timeoutMs: 4_000,
    });
  const keysOf = async (agent: string): Promise<TlsIdentity> => {
    const directory = join(world.home.agentDirectory(agent), "identity");
    const identity = await loadIdentity(await openKeyVault({ directory, masterKeyFile: world.home.masterKeyFile }));
    if (identity === undefined) throw new Error(`no identity of ${agent}`);
    return identity.tls();
  };

  /** The identity of another gateway, which stock clients take for the host that they dialled. */
  const offload = async () => {
    const gateway = { uri: "https://offload.blue.example/amsp", level: 1 } as const;
    const { token } = await world.network.operators[0].authority.createToken({
      spiffeId: "spiffe://blue.example/gateway/offload",
      role: "gateway",
      hosts: ["127.0.0.1"],
      gateway: { gatewayUri: gateway.uri, level: gateway.level, namespaces: [] },
    });
    return await enrol(world, "blue.example/gateway/offload", { gateway, token });
  };

  beforeAll(async () => {
    if ("missing" in tools) return;
    world = await startWorld();
    await using enrolled = await world.agent(name);
    expect(enrolled.status().state).toBe("attached");
    other = await offload();
  }, 120_000);

  afterAll(async () => {
    await other?.stop();
    await world?.[Symbol.asyncDispose]();
  });

  test("that passes TLS through carries links, streams and answers as if it were not there [AGP-5]", async () => {
    await using proxy = await before({ kind: "pass-through" });
    await using agent = await through(proxy);
    const partner = await world.agent("blue.example/proxied/partner");
    partner.onRequest(async function* () {
      yield "one";
      yield "two";
    });
    const parts: string[] = [];
    for await (const part of agent.stream(partner.id, { data: "count" })) parts.push(part.text());
    expect(parts).toEqual(["one", "two"]);
  });

  test("that ends TLS is refused, with the gateway's own certificate and with another one: the channel binding differs [AAP-62]", async () => {
    const gateway = (await identityIn(world.network.configs[0], "gateways", "gw1", "identity")).tls();
    for (const front of [gateway, other.identity.tls()]) {
      // Even the agent's key was given to it: without, its connection would not even be the agent's.
      await using proxy = await before({ kind: "terminating", front, client: await keysOf(name) });
      const refused = CausewayError.from(await through(proxy).then(undefined, (thrown: unknown) => thrown));
      expect([refused.code, refused.message]).toEqual([
        expect.stringMatching(/^CAUSEWAY_(ATTACHMENT_PROOF_INVALID|IDENTITY_MISMATCH)$/),
        expect.stringContaining(front === gateway ? "a proxy between agent and gateway has to pass TLS through" : ""),
      ]);
    }
  });

  test.skipIf("missing" in python)("that ends TLS is refused for stock gRPC, too [AGP-5]", async () => {
    if ("missing" in python) return;
    const generated = join(world.home.directory, "generated");
    generate(python.env, generated);
    const file = join(world.home.directory, "python.json");
    const agent = "blue.example/proxied/python";
    await using program = new StockAgent(python.env, generated);
    program.do("enrol", {
      agent: `spiffe://${agent}`,
      token: await world.network.operators[0].agentToken(agent),
      file,
    });
    await program.hear("enrolled");
    await using pass = await before({ kind: "pass-through" });
    program.do("open", { file, gateway: pass.url });
    program.do("attach");
    expect(await program.hear("attached")).toMatchObject({ gateway: "spiffe://blue.example/gateway/gw1" });

    const { key, chain } = JSON.parse(readFileSync(file, "utf8")) as { readonly key: string; readonly chain: string };
    await using ends = await before({
      kind: "terminating",
      front: other.identity.tls(),
      client: { key, chainPem: chain },
    });
    program.do("open", { file, gateway: ends.url });
    program.do("attach");
    expect(await program.hear("refused")).toMatchObject({
      code: "CAUSEWAY_ATTACHMENT_PROOF_INVALID",
      message: expect.stringContaining("a proxy between agent and gateway has to pass TLS through"),
    });
  });
});
