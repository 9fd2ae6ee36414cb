import { create } from "@bufbuild/protobuf";
import { agp } from "@causeway/core-wire";
import { beforeEach, describe, expect, test } from "vitest";
import { requestId, type TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let bob: TestAgent;

async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  await agent.advertise();
  await world.scheduler.advance(1_000);
  return agent;
}

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  alice = await known(net.blue1, "blue.example/travel/alice");
  bob = await known(net.green1, "green.example/hotels/bob");
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
let serial = 0;

/** Asks over the network; the body of the answer. */
async function ask(from: TestAgent, target: TestAgent, body: agp.Control["body"]): Promise<agp.Control["body"]> {
  const id = requestId(++serial);
  await from.control(target.agentId, body, id);
  const found = from.inbox.find((each) => each.case === "control" && each.value.requestId[0] === id[0]);
  return found?.case === "control" ? found.value.body : { case: undefined };
}

async function fetchPackage(from: TestAgent): Promise<string> {
  const answer = await ask(from, bob, {
    case: "keyPackageFetch",
    value: create(agp.KeyPackageFetchSchema, { suite: 1 }),
  });
  if (answer.case !== "keyPackageResult") return `no answer: ${answer.case}`;
  return answer.value.error?.code ?? new TextDecoder().decode(answer.value.keyPackage);
}

async function commit(from: TestAgent, epoch: bigint, content: string): Promise<string> {
  const value = create(agp.CommitSubmitSchema, { groupId: bytes("group"), epoch, commit: bytes(content) });
  const answer = await ask(from, bob, { case: "commitSubmit", value });
  if (answer.case !== "commitResult") return `no answer: ${answer.case}`;
  return answer.value.accepted
    ? "accepted"
    : `${answer.value.error?.code} ${new TextDecoder().decode(answer.value.winner)}`;
}

describe("the delivery service over the network", () => {
  test("key packages are handed out once each, to asker after asker and over a restart; then the last resort [AGP-60]", async () => {
    const upload = { request: 1n, keyPackages: [bytes("one"), bytes("two")], lastResort: bytes("last") };
    const stored = await bob.request({ case: "keyPackageUpload", value: upload }, "keyPackageUploadResult");
    expect(stored).toMatchObject({ request: 1n, stored: 2 });
    expect(await fetchPackage(alice)).toBe("one");
    await world.kill(net.green1);
    await world.start(net.green1);
    await world.scheduler.advance(40_000);
    expect(await fetchPackage(alice)).toBe("two");
    expect(await fetchPackage(alice)).toBe("last");
    expect(await fetchPackage(alice)).toBe("last");
  });

  test("without packages the answer says so", async () => {
    expect(await fetchPackage(alice)).toBe("CAUSEWAY_E2EE_NO_KEY_PACKAGE");
  });

  test("the first commit of an epoch wins and the other member gets it [AGP-60]", async () => {
    expect(await commit(alice, 3n, "from alice")).toBe("accepted");
    expect(await commit(bob, 3n, "from bob")).toBe("CAUSEWAY_E2EE_STALE_EPOCH from alice");
    expect(await commit(bob, 4n, "rebased")).toBe("accepted");
    const fetch = create(agp.HandshakeFetchSchema, { groupId: bytes("group"), fromEpoch: 3n });
    const answer = await ask(alice, bob, { case: "handshakeFetch", value: fetch });
    const commits =
      answer.case === "handshakeResult" ? answer.value.commits.map((each) => new TextDecoder().decode(each)) : [];
    expect(commits).toEqual(["from alice", "rebased"]);
  });

  test("a request for somebody whom nobody knows is answered with a report", async () => {
    const stranger = world.agent(net.green1, "green.example/hotels/nobody");
    await alice.control(
      stranger.agentId,
      { case: "keyPackageFetch", value: create(agp.KeyPackageFetchSchema) },
      requestId(99),
    );
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
  });

  test("an upload that is too large is refused", async () => {
    const keyPackages = Array.from({ length: 101 }, () => bytes("x"));
    const result = await bob.request(
      { case: "keyPackageUpload", value: { request: 2n, keyPackages } },
      "keyPackageUploadResult",
    );
    expect(result.error?.code).toBe("CAUSEWAY_LIMIT_COUNT");
  });
});
