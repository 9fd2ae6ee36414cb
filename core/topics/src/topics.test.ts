import { readdirSync, readFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { parseAgentId } from "@causeway/core-base";
import { agp } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Network, uriOf } from "./fixtures/network.ts";
import { matchesTopic } from "./topic-name.ts";
import { Topics } from "./topics.ts";

const topic = "blue.example/agent-0/news";
const patterns = [topic, "blue.example/agent-0/*", "blue.example/*", "blue.example/agent-1/x"];

/** A connected core of Level-2 gateways with edges and agents at random places. */
const shapes = fc
  .record({
    core: fc.integer({ min: 1, max: 6 }),
    // For each further core gateway: the earlier one it is joined to; then extra links.
    parents: fc.array(fc.nat(), { minLength: 6, maxLength: 6 }),
    extra: fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 6 }),
    // Each edge gateway is linked to one core gateway or to two.
    edges: fc.array(fc.tuple(fc.nat(), fc.option(fc.nat())), { maxLength: 4 }),
    agents: fc.array(fc.tuple(fc.nat(), fc.subarray(patterns)), { minLength: 1, maxLength: 6 }),
  })
  .map(({ core, parents, extra, edges, agents }) => {
    const links = new Set<string>();
    for (let i = 1; i < core; i++) links.add(`c${(parents[i - 1] ?? 0) % i} c${i}`);
    for (const [x, y] of extra) {
      const [a, b] = [x % core, y % core].sort((m, n) => m - n) as [number, number];
      if (a !== b) links.add(`c${a} c${b}`);
    }
    edges.forEach(([at, second], i) => {
      links.add(`c${at % core} e${i}`);
      if (second !== null) links.add(`c${second % core} e${i}`);
    });
    const gateways = [...Array.from({ length: core }, (_, i) => `c${i}`), ...edges.map((_, i) => `e${i}`)];
    return {
      gateways,
      links: [...links],
      agents: agents.map(([at, wants], i) => ({
        name: `agent-${i}`,
        at: gateways[at % gateways.length] ?? "c0",
        wants,
      })),
    };
  });

function build(shape: {
  gateways: readonly string[];
  links: readonly string[];
  agents: readonly { name: string; at: string; wants: readonly string[] }[];
}): Network {
  const network = new Network();
  for (const name of shape.gateways) network.gateway(name, name.startsWith("c") ? 2 : 1);
  for (const link of shape.links) network.join(...(link.split(" ") as [string, string]));
  for (const { name, at, wants } of shape.agents) {
    network.agent(name, at);
    for (const pattern of wants) network.subscribe(name, pattern);
  }
  network.settle();
  return network;
}

/** Gateways that the links still connect with `from`; edge gateways carry nothing through. */
function reachable(links: readonly string[], from: string): ReadonlySet<string> {
  const seen = new Set([from]);
  const queue = [from];
  for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
    if (at.startsWith("e") && at !== from) continue;
    for (const link of links) {
      const [a, b] = link.split(" ") as [string, string];
      const other = a === at ? b : b === at ? a : undefined;
      if (other !== undefined && !seen.has(other)) {
        seen.add(other);
        queue.push(other);
      }
    }
  }
  return seen;
}

function checkPublication(network: Network, shape: Parameters<typeof build>[0], links: readonly string[]): void {
  const publisher = shape.agents[0];
  if (publisher === undefined) return;
  expect(network.publish(publisher.name, topic)).toBeUndefined();
  const near = reachable(links, publisher.at);
  const expected = shape.agents
    .filter((a) => a !== publisher && near.has(a.at) && a.wants.some((p) => matchesTopic(p as never, topic as never)))
    .map((a) => a.name);
  expect([...network.deliveries].sort()).toEqual(expected.sort());
  const directed = network.copies.map(({ from, to }) => `${from}>${to}`);
  expect(new Set(directed).size, directed.join(" ")).toBe(directed.length);
  // A copy that goes back over a link would show that two branches of the tree met.
  expect(network.copies.filter(({ from, to }) => directed.includes(`${to}>${from}`))).toEqual([]);
}

test("any network at rest, over an in-memory wire: every subscriber once, one copy for each link [AGP-15] [AGP-19]", () => {
  fc.assert(
    fc.property(shapes, (shape) => checkPublication(build(shape), shape, shape.links)),
    { numRuns: 300 },
  );
  const folder = new URL(".", import.meta.url);
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))) {
    expect(readFileSync(new URL(file, folder), "utf8"), file).not.toMatch(/from "(node:|@connectrpc|@grpc)/);
  }
});

test("after links are lost and come back the rest is reached again, and nobody else", () => {
  fc.assert(
    fc.property(shapes, fc.array(fc.nat(), { minLength: 1, maxLength: 5 }), (shape, cuts) => {
      const network = build(shape);
      const links = [...shape.links];
      const lost: string[] = [];
      for (const cut of cuts) {
        const [gone] = links.splice(cut % Math.max(1, links.length), 1);
        if (gone === undefined) break;
        network.part(...(gone.split(" ") as [string, string]));
        lost.push(gone);
      }
      network.settle();
      checkPublication(network, shape, links);
      for (const link of lost) network.join(...(link.split(" ") as [string, string]));
      network.settle();
      checkPublication(network, shape, shape.links);
    }),
    { numRuns: 150 },
  );
});

test("a ring of five Level-2 gateways, with two ways of one length, carries one copy over each link [AGP-19]", () => {
  const network = new Network();
  for (const name of ["c0", "c1", "c2", "c3", "c4"]) network.gateway(name, 2);
  for (const [a, b] of ["c0 c1", "c1 c2", "c2 c3", "c3 c4", "c4 c0"].map((link) => link.split(" ") as [string, string]))
    network.join(a, b);
  network.agent("agent-0", "c0");
  network.agent("agent-1", "c2");
  network.agent("agent-2", "c3");
  for (const name of ["agent-1", "agent-2"]) network.subscribe(name, topic);
  network.settle();
  network.publish("agent-0", topic);
  expect(network.copies.map(({ from, to }) => `${from}>${to}`)).toEqual(["c0>c4", "c0>c1", "c4>c3", "c1>c2"]);
  expect([...network.deliveries].sort()).toEqual(["agent-1", "agent-2"]);
});

test("an edge with two Level-2 gateways carries nothing from one to the other, and gets one copy", () => {
  const network = new Network();
  for (const name of ["c1", "c2"]) network.gateway(name, 2);
  network.gateway("e", 1);
  network.join("c1", "e");
  network.join("c2", "e");
  network.agent("agent-0", "c1");
  network.agent("agent-1", "c2");
  network.agent("agent-2", "e");
  for (const name of ["agent-1", "agent-2"]) network.subscribe(name, topic);
  network.settle();
  network.publish("agent-0", topic);
  expect([network.copies, network.deliveries]).toEqual([[{ from: "c1", to: "e" }], ["agent-2"]]);
  // With a link between the two, the edge is told by both and delivers once.
  network.join("c1", "c2");
  network.settle();
  network.publish("agent-0", topic);
  expect([...network.deliveries].sort()).toEqual(["agent-1", "agent-2"]);
});

describe("one gateway against a naive model", () => {
  interface Model {
    readonly subscriptions: Map<string, Set<string>>;
    readonly topics: Set<string>;
  }
  const names = ["a", "b", "c"];
  const own = (name: string): string => `blue.example/${name}/t`;
  const command = (
    check: (m: Model) => boolean,
    run: (m: Model, r: Network) => void,
    text: string,
  ): fc.Command<Model, Network> => ({ check, run, toString: () => text });
  const any = (): boolean => true;
  const commands = [
    fc
      .tuple(fc.constantFrom(...names), fc.constantFrom("blue.example/a/t", "blue.example/*", "blue.example/b/*"))
      .map(([name, pattern]) =>
        command(
          any,
          (m, r) => {
            expect(r.subscribe(name, pattern)).toBeUndefined();
            m.subscriptions.get(name)?.add(pattern);
          },
          `subscribe ${name} ${pattern}`,
        ),
      ),
    fc.tuple(fc.constantFrom(...names), fc.constantFrom("blue.example/a/t", "blue.example/*")).map(([name, pattern]) =>
      command(
        any,
        (m, r) => {
          r.unsubscribe(name, pattern);
          m.subscriptions.get(name)?.delete(pattern);
        },
        `unsubscribe ${name} ${pattern}`,
      ),
    ),
    fc.constantFrom(...names).map((name) =>
      command(
        any,
        (m, r) => {
          r.run(`gone ${name}`);
          m.subscriptions.get(name)?.clear();
        },
        `gone ${name}`,
      ),
    ),
    fc.constantFrom(...names).map((name) =>
      command(
        (m) => !m.topics.has(own(name)),
        (m, r) => {
          expect(r.run(`create ${name} ${own(name)}`)).toContain(`gw: persist ${own(name)}`);
          m.topics.add(own(name));
        },
        `create ${name}`,
      ),
    ),
    fc.tuple(fc.constantFrom(...names), fc.constantFrom(...names)).map(([caller, owner]) =>
      command(
        any,
        (m, r) => {
          const [answer] = r.run(`delete ${caller} ${own(owner)}`);
          const expected = !m.topics.has(own(owner))
            ? "refused: CAUSEWAY_TOPIC_NOT_FOUND"
            : caller === owner
              ? `gw: erase ${own(owner)}`
              : "refused: CAUSEWAY_TOPIC_NOT_ALLOWED";
          expect(answer).toBe(expected);
          if (caller === owner) m.topics.delete(own(owner));
        },
        `delete ${caller} ${owner}`,
      ),
    ),
    fc
      .tuple(fc.constantFrom(...names), fc.constantFrom("blue.example/a/t", "blue.example/b/t", "blue.example/c/t"))
      .map(([name, to]) =>
        command(
          any,
          (m, r) => {
            expect(r.publish(name, to)).toBeUndefined();
            const expected = names.filter(
              (n) =>
                n !== name && [...(m.subscriptions.get(n) ?? [])].some((p) => matchesTopic(p as never, to as never)),
            );
            expect([...r.deliveries].sort()).toEqual(expected);
            expect(
              r
                .node("gw")
                .machine.topics()
                .map((t) => t.topic),
            ).toEqual([...m.topics].sort());
          },
          `publish ${name} ${to}`,
        ),
      ),
  ];

  test("subscriptions and topics", () => {
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 60 }), (cmds) => {
        fc.modelRun(() => {
          const real = new Network();
          real.gateway("gw", 1);
          for (const name of names) real.agent(name, "gw");
          return {
            model: { subscriptions: new Map(names.map((n) => [n, new Set<string>()])), topics: new Set<string>() },
            real,
          };
        }, cmds);
      }),
      { numRuns: 200 },
    );
  });
});

describe("bounds", () => {
  const network = (options: ConstructorParameters<typeof Network>[0]): Network => {
    const n = new Network(options);
    n.gateway("gw", 2);
    n.gateway("peer", 2);
    n.join("gw", "peer");
    n.agent("a", "gw");
    n.agent("b", "gw");
    return n;
  };

  test("subscriptions of an attachment", () => {
    const n = network({ subscriptionsPerLinkMax: 1 });
    expect(n.subscribe("a", "blue.example/x/1")).toBeUndefined();
    expect(n.subscribe("a", "blue.example/x/1")).toBeUndefined();
    expect(n.subscribe("a", "blue.example/x/2")).toBe("CAUSEWAY_LIMIT_COUNT");
    n.unsubscribe("a", "blue.example/x/1");
    expect(n.subscribe("a", "blue.example/x/2")).toBeUndefined();
  });

  test("different patterns of a gateway", () => {
    const n = network({ patternsMax: 1 });
    expect(n.subscribe("a", "blue.example/x/1")).toBeUndefined();
    expect(n.subscribe("b", "blue.example/x/1")).toBeUndefined();
    expect(n.subscribe("b", "blue.example/x/2")).toBe("CAUSEWAY_LIMIT_COUNT");
    expect(n.run("interest peer gw path=peer topics=b.e/1,b.e/2")).toEqual(["refused: CAUSEWAY_LIMIT_COUNT"]);
  });

  test("topics of a gateway and of an owner", () => {
    expect(network({ topicsMax: 1 }).run("create a blue.example/a/1")).not.toContain("refused: CAUSEWAY_LIMIT_COUNT");
    const n = network({ topicsPerOwnerMax: 1 });
    n.run("create a blue.example/a/1");
    expect(n.run("create a blue.example/a/2")).toEqual(["refused: CAUSEWAY_LIMIT_COUNT"]);
    n.run("delete a blue.example/a/1");
    expect(n.run("create a blue.example/a/2")).toContain("gw: persist blue.example/a/2");
  });

  test("origins of a neighbour", () => {
    const n = network({ originsMax: 1 });
    expect(n.run("interest peer gw path=peer")).toEqual(["ok"]);
    expect(n.run("interest peer gw path=peer origin=https://o.example")).toEqual(["refused: CAUSEWAY_LIMIT_COUNT"]);
  });

  test("an aggregate that is too large for an edge becomes whole domains", () => {
    const n = new Network({ patternsMax: 2 });
    n.gateway("c", 2);
    n.gateway("e", 1);
    n.gateway("d", 2);
    n.join("c", "e");
    n.join("c", "d");
    n.agent("a", "c");
    n.agent("b", "d");
    for (const [name, pattern] of [
      ["a", "blue.example/x/1"],
      ["a", "blue.example/x/2"],
      ["b", "blue.example/x/3"],
    ] as const) {
      n.subscribe(name, pattern);
    }
    n.settle();
    expect(n.run("origins e")).toEqual(["c via c: blue.example/*"]);
  });

  test("the duplicate filter forgets the oldest, not the newest", () => {
    const n = network({ duplicatesMax: 2 });
    n.subscribe("b", "blue.example/a/t");
    const deliveries = (id: number): number => {
      n.publish("a", "blue.example/a/t", { id });
      return n.deliveries.length;
    };
    expect([1, 1, 2, 3, 2, 4, 5, 5, 1].map(deliveries)).toEqual([1, 0, 1, 1, 0, 1, 1, 0, 1]);
  });
});

test("any interest is taken or refused with a code, and never throws", () => {
  const name = fc.oneof(fc.constantFrom("b", "a", "c").map(uriOf), fc.string({ maxLength: 20 }));
  fc.assert(
    fc.property(
      fc.record({
        origin: name,
        epoch: fc.bigInt(0n, 2n ** 64n - 1n),
        sequence: fc.bigInt(0n, 2n ** 64n - 1n),
        path: fc.array(name, { maxLength: 40 }),
        topics: fc.array(fc.oneof(fc.constantFrom("b.e/x", "b.e/*"), fc.string({ maxLength: 10 })), { maxLength: 5 }),
        withdrawn: fc.boolean(),
      }),
      fc.constantFrom<1 | 2>(1, 2),
      (init, level) => {
        const topics = new Topics({ self: uriOf("a"), level: 2, epoch: 1n });
        const now = new Network().now;
        topics.handlePeerUp(now, { uri: uriOf("b"), level });
        const refusal = topics.handleInterest(now, uriOf("b"), create(agp.TopicInterestSchema, init));
        if (refusal !== undefined) expect(refusal.code).toMatch(/^CAUSEWAY_/);
      },
    ),
    { numRuns: 500 },
  );
});

test("an unknown command is refused", () => {
  const topics = new Topics({ self: uriOf("a"), level: 1, epoch: 1n });
  const result = topics.handleCommand(
    new Network().now,
    "spiffe://b.e/x" as never,
    create(agp.TopicCommandSchema, { request: 4n }),
  );
  expect([result.request, result.error?.code]).toEqual([4n, "CAUSEWAY_FRAME_UNKNOWN"]);
});

test("a policy's options are kept and told, and what is out of bounds is refused [AGP-12]", () => {
  const topics = new Topics({ self: uriOf("a"), level: 1, epoch: 1n });
  const { now } = new Network();
  const owner = parseAgentId("blue.example/agent-0");
  const make = (policy: Parameters<typeof create<typeof agp.TopicPolicySchema>>[1]) =>
    topics.handleCommand(
      now,
      owner,
      create(agp.TopicCommandSchema, {
        request: 1n,
        command: { case: "create", value: { topic, policy: policy ?? {} } },
      }),
    );
  const made = make({ overflow: agp.TopicOverflow.DISCONNECT, retained: 100, retainedMs: 5n });
  expect(made.topics[0]?.policy).toMatchObject({ overflow: 2, retained: 100, retainedMs: 5n });
  expect(topics.find(topic)?.policy).toMatchObject({ overflow: 2, retained: 100, retainedMs: 5 });
  expect(make({ retained: 101 }).error?.code).toBe("CAUSEWAY_LIMIT_COUNT");
  expect(make({ overflow: 3 as never }).error?.code).toBe("CAUSEWAY_UNSUPPORTED");
  expect(make({ retainedMs: 2n ** 60n }).error?.code).toBe("CAUSEWAY_NAME_INVALID");
  expect(topics.find(topic)?.policy.retained).toBe(100);
});

test("a topic that only its owner hears is idle: it goes after its time, and one that others hear stays [AGP-12]", () => {
  const topics = new Topics({ self: uriOf("a"), level: 1, epoch: 1n });
  const { now } = new Network();
  const owner = parseAgentId("blue.example/agent-0");
  const command = { case: "create", value: { topic, policy: { idleExpiryMs: 1_000n } } } as const;
  const at = (ms: number) => ({ unix: now.unix + ms, instant: now.instant + ms }) as typeof now;
  topics.handleCommand(now, owner, create(agp.TopicCommandSchema, { request: 1n, command }));
  expect(topics.handleSubscribe(now, 1 as never, owner, topic)).toBeUndefined();
  expect(topics.handleSubscribe(now, 2 as never, parseAgentId("blue.example/agent-1"), topic)).toBeUndefined();
  topics.handleTimeout(at(1_500));
  expect(topics.find(topic)).toBeDefined();
  topics.handleLinkDown(at(1_600), 2 as never);
  topics.handleTimeout(at(4_000));
  expect(topics.find(topic)).toBeUndefined();
});
