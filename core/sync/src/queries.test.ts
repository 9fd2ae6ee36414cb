/** Queries between gateways: the four outcomes of AMSP-101, and their bounds. */
import { create } from "@bufbuild/protobuf";
import { parseAgentId } from "@causeway/core-base";
import { amsp } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import { SyncNetwork } from "../testing/index.ts";

const agent = "blue.example/x/agent";
const ask = (net: SyncNetwork, at: string, name: string): bigint => {
  let id = 0n;
  net.input(at, (m) => {
    id = m.query(net.now, { agentId: parseAgentId(name) });
  });
  return id;
};
/** edge – core – far, where core keeps no records of far. */
const scoped = (...more: readonly string[]): SyncNetwork => {
  const net = new SyncNetwork();
  net.add("edge", { role: "level1" });
  net.add("core", { options: { policy: { imports: () => ({ denied: "out of scope" }) } } });
  for (const name of ["far", ...more])
    net.add(name, { options: { policy: { imports: () => ({ denied: "out of scope" }) } } });
  net.connect("edge", "core");
  net.line("core", "far", ...more);
  net.run(1_000);
  return net;
};

describe("a query has one documented result [AMSP-101]", () => {
  test("positive: known at the neighbour, with a verified record and the way to it", () => {
    const net = scoped();
    net.announce("core", agent);
    const id = ask(net, "edge", agent);
    net.run(100);
    expect(net.node("edge").answers.get(id)).toMatchObject({
      found: true,
      routes: [
        { agentId: `spiffe://${agent}`, via: net.node("core").uri, path: [net.node("core").uri], status: "online" },
      ],
    });
  });

  test("positive: known one gateway further", () => {
    const net = scoped();
    net.announce("far", agent);
    net.run(1_000);
    const id = ask(net, "edge", agent);
    net.run(100);
    const answer = net.node("edge").answers.get(id);
    expect(answer).toMatchObject({ found: true, routes: [{ path: [net.node("core").uri, net.node("far").uri] }] });
  });

  test("negative: nobody knows", () => {
    const net = scoped();
    const id = ask(net, "edge", agent);
    net.run(100);
    expect(net.node("edge").answers.get(id)).toMatchObject({
      found: false,
      error: { code: "CAUSEWAY_RECORD_NOT_FOUND" },
    });
  });

  test("negative at once when there is nobody to ask", () => {
    const net = new SyncNetwork();
    net.add("alone", { role: "level1" });
    const id = ask(net, "alone", agent);
    expect(net.node("alone").answers.get(id)).toMatchObject({
      found: false,
      error: { code: "CAUSEWAY_RECORD_NOT_FOUND" },
    });
  });

  test("hop limit: the agent is too far away", () => {
    const net = scoped("farther");
    net.announce("farther", agent);
    net.run(1_000);
    const id = ask(net, "edge", agent);
    net.run(100);
    expect(net.node("edge").answers.get(id)).toMatchObject({
      found: false,
      error: { code: "CAUSEWAY_FORWARDING_TTL_EXHAUSTED" },
    });
  });

  test("time-out: no answer comes", () => {
    const net = scoped();
    net.node("core").isPuppet = true;
    const id = ask(net, "edge", agent);
    net.run(1_900);
    expect(net.node("edge").answers.has(id)).toBe(false);
    net.run(200);
    expect(net.node("edge").answers.get(id)).toMatchObject({ found: false, error: { code: "CAUSEWAY_TIMEOUT" } });
  });

  test("a silent gateway further away still leaves time for an answer", () => {
    const net = scoped();
    net.node("far").isPuppet = true;
    const id = ask(net, "edge", agent);
    net.run(1_100);
    expect(net.node("edge").answers.get(id)).toMatchObject({ found: false, error: { code: "CAUSEWAY_TIMEOUT" } });
  });

  test("the gateway that was asked is gone", () => {
    const net = scoped();
    net.node("core").isPuppet = true;
    const id = ask(net, "edge", agent);
    net.cut("edge", "core");
    expect(net.node("edge").answers.get(id)).toMatchObject({ found: false, error: { code: "CAUSEWAY_UNREACHABLE" } });
  });
});

test("a record that the asker's domain may not see is not in the answer", () => {
  const net = new SyncNetwork();
  net.add("blue");
  net.add("green", { domain: "green.example" });
  net.connect("green", "blue");
  net.run(1_000);
  net.announce("blue", agent, { visibleDomains: ["red.example"] });
  const id = ask(net, "green", agent);
  net.run(100);
  expect(net.node("green").answers.get(id)).toMatchObject({ found: false });
});

test("an answer whose record does not verify is no answer", () => {
  const net = scoped();
  net.announce("far", agent);
  const core = net.node("core");
  core.isPuppet = true;
  const id = ask(net, "edge", agent);
  net.settle();
  const [route] = net.machine("far").routes(parseAgentId(agent));
  const forged = create(amsp.UpdateSchema, { path: { gateways: [core.uri] } });
  if (route !== undefined) {
    forged.origin = route.signedOrigin;
    forged.record = { ...route.signed, body: Uint8Array.from(route.signed.body, (b, i) => (i === 60 ? b ^ 1 : b)) };
  }
  const result = create(amsp.ResultSchema, { id, matches: [forged] });
  net.inject("core", "edge", create(amsp.MessageSchema, { body: { case: "result", value: result } }));
  net.run(100);
  expect(net.node("edge").answers.get(id)).toMatchObject({ found: false });
});

describe("an answer counts only for what was asked [AMSP-101]", () => {
  const other = "blue.example/x/other";
  /** What core says when it is asked for `agent`: the record of `named`, and a PATH of these gateways. */
  const answered = (named: string, pathOf: (net: SyncNetwork) => readonly string[]) => {
    const net = scoped();
    for (const each of [agent, other]) net.announce("far", each);
    net.node("core").isPuppet = true;
    const id = ask(net, "edge", agent);
    net.settle();
    const [route] = net.machine("far").routes(parseAgentId(named));
    const match = create(amsp.UpdateSchema, { path: { gateways: [...pathOf(net)] } });
    if (route !== undefined) {
      match.origin = route.signedOrigin;
      match.record = route.signed;
    }
    const value = create(amsp.ResultSchema, { id, matches: [match] });
    net.inject("core", "edge", create(amsp.MessageSchema, { body: { case: "result", value } }));
    net.run(100);
    return net.node("edge").answers.get(id);
  };

  test("with the agent that was asked for it is taken", () => {
    expect(answered(agent, (net) => [net.node("core").uri])).toMatchObject({ found: true });
  });

  test("with another agent it is none, however well that one is signed", () => {
    expect(answered(other, (net) => [net.node("core").uri])).toMatchObject({
      found: false,
      error: { code: "CAUSEWAY_RECORD_NOT_FOUND" },
    });
  });

  test("with a way that leads through who asked it is none", () => {
    expect(answered(agent, (net) => [net.node("core").uri, net.node("edge").uri])).toMatchObject({
      found: false,
      error: { code: "CAUSEWAY_RECORD_NOT_FOUND" },
    });
  });
});

test("a query by text is answered by the search that the gateway was given, or refused", () => {
  for (const canSearch of [true, false]) {
    const net = new SyncNetwork();
    net.add("edge", { role: "level1" });
    net.add("core", canSearch ? { options: { search: () => [parseAgentId(agent)] } } : {});
    net.connect("edge", "core");
    net.announce("core", agent);
    net.run(1_000);
    let id = 0n;
    net.input("edge", (m) => {
      id = m.query(net.now, { text: "somebody who books flights" });
    });
    net.run(100);
    const code = { found: false, error: { code: "CAUSEWAY_UNSUPPORTED" } };
    expect(net.node("edge").answers.get(id)).toMatchObject(canSearch ? { found: true } : code);
  }
});
