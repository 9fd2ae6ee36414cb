import { create } from "@bufbuild/protobuf";
import { agp } from "@causeway/core-wire";
import { beforeEach, describe, expect, test } from "vitest";
import type { GatewayLimits } from "./ports.ts";
import { contentOf, keyPackage, packageContentOf, privateMessage } from "./testing/mls-bytes.ts";
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

async function fetchPackage(from: TestAgent, suite = 1): Promise<string> {
  const answer = await ask(from, bob, { case: "keyPackageFetch", value: create(agp.KeyPackageFetchSchema, { suite }) });
  if (answer.case !== "keyPackageResult") return `no answer: ${answer.case}`;
  return answer.value.error?.code ?? packageContentOf(answer.value.keyPackage);
}

interface Submission {
  readonly owner?: TestAgent;
  readonly group?: string;
  /** Bytes instead of the commit that fits. */
  readonly bytes?: Uint8Array;
}

async function commit(from: TestAgent, epoch: number, content: string, more: Submission = {}): Promise<string> {
  const groupId = bytes(more.group ?? "group");
  const value = create(agp.CommitSubmitSchema, {
    groupId,
    epoch: BigInt(epoch),
    commit: more.bytes ?? privateMessage(content, { groupId, epoch, contentType: 3 }),
  });
  const answer = await ask(from, more.owner ?? bob, { case: "commitSubmit", value });
  if (answer.case !== "commitResult") return `no answer: ${answer.case}`;
  const { accepted, error, winner } = answer.value;
  if (accepted) return "accepted";
  return winner.length > 0 ? `${error?.code} ${contentOf(winner)}` : `${error?.code}`;
}

async function commits(from: TestAgent, fromEpoch: number, more: Submission = {}): Promise<readonly string[] | string> {
  const value = create(agp.HandshakeFetchSchema, {
    groupId: bytes(more.group ?? "group"),
    fromEpoch: BigInt(fromEpoch),
  });
  const answer = await ask(from, more.owner ?? bob, { case: "handshakeFetch", value });
  if (answer.case !== "handshakeResult") return `no answer: ${answer.case}`;
  return answer.value.error?.code ?? answer.value.commits.map(contentOf);
}

const upload = (value: Parameters<typeof create<typeof agp.KeyPackageUploadSchema>>[1]) =>
  bob.request({ case: "keyPackageUpload", value: { request: 1n, ...value } as never }, "keyPackageUploadResult");

describe("key packages over the network", () => {
  test("are handed out once each, to asker after asker and over a restart; then the last resort [AGP-60]", async () => {
    const stored = await upload({
      keyPackages: [keyPackage("one"), keyPackage("two")],
      lastResort: keyPackage("last"),
    });
    expect(stored).toMatchObject({ request: 1n, stored: 2 });
    expect(await fetchPackage(alice)).toBe("one");
    await world.kill(net.green1);
    await world.start(net.green1);
    await world.scheduler.advance(40_000);
    expect(await fetchPackage(alice)).toBe("two");
    expect(await fetchPackage(alice)).toBe("last");
    expect(await fetchPackage(alice)).toBe("last");
  });

  test("without any the answer says so", async () => {
    expect(await fetchPackage(alice)).toBe("CAUSEWAY_E2EE_NO_KEY_PACKAGE");
  });

  test("of another suite than the wanted one are not handed out and not used up", async () => {
    await upload({ keyPackages: [keyPackage("chacha", 3)] });
    expect(await fetchPackage(alice, 1)).toBe("CAUSEWAY_E2EE_SUITE_MISMATCH");
    expect(await fetchPackage(alice, 3)).toBe("chacha");
    await upload({ keyPackages: [], lastResort: keyPackage("last", 3) });
    expect(await fetchPackage(alice, 1)).toBe("CAUSEWAY_E2EE_SUITE_MISMATCH");
    expect(await fetchPackage(alice, 0)).toBe("last");
  });

  test("of a new suite replace those of the former one; of the same they are added", async () => {
    expect(await upload({ keyPackages: [keyPackage("a", 3), keyPackage("b", 3)] })).toMatchObject({ stored: 2 });
    expect(await upload({ keyPackages: [keyPackage("c", 3)] })).toMatchObject({ stored: 3 });
    expect(await upload({ keyPackages: [keyPackage("d", 1)] })).toMatchObject({ stored: 1 });
    expect(await fetchPackage(alice, 1)).toBe("d");
    expect(await fetchPackage(alice, 3)).toBe("CAUSEWAY_E2EE_NO_KEY_PACKAGE");
  });

  test("that are too many, of two suites or none at all are refused", async () => {
    const code = async (keyPackages: Uint8Array[]): Promise<string | undefined> =>
      (await upload({ keyPackages })).error?.code;
    expect(await code(Array.from({ length: 101 }, () => keyPackage("x")))).toBe("CAUSEWAY_LIMIT_COUNT");
    expect(await code([keyPackage("x"), new Uint8Array(1_048_577)])).toBe("CAUSEWAY_LIMIT_COUNT");
    expect(await code([keyPackage("x", 1), keyPackage("y", 3)])).toBe("CAUSEWAY_E2EE_SUITE_MISMATCH");
    for (const bad of [bytes(""), bytes("plain"), Uint8Array.of(0, 2, 0, 1), Uint8Array.of(0, 1, 0)]) {
      expect(await code([bad])).toBe("CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED");
    }
    expect(await fetchPackage(alice)).toBe("CAUSEWAY_E2EE_NO_KEY_PACKAGE");
  });

  test("that are fetched too fast are refused to the one who does, with the time to wait", async () => {
    await restartWith({ keyPackageFetchesPerMinute: 2 });
    const carol = await known(net.blue1, "blue.example/travel/carol");
    await upload({ keyPackages: ["1", "2", "3", "4"].map((each) => keyPackage(each)) });
    expect([await fetchPackage(alice), await fetchPackage(alice)]).toEqual(["1", "2"]);
    expect(await fetchPackage(alice)).toBe("CAUSEWAY_LIMIT_RATE");
    expect(await fetchPackage(carol)).toBe("3");
    await world.scheduler.advance(31_000);
    expect(await fetchPackage(alice)).toBe("4");
  });

  test("that a whole domain fetches too fast, under as many names as it likes, are refused to that domain only", async () => {
    const carol = await known(net.green1, "green.example/hotels/carol");
    for (let round = 0; round < 3; round++)
      await upload({ keyPackages: Array.from({ length: 50 }, (_, index) => keyPackage(`${round}.${index}`)) });
    const answers: unknown[] = [];
    for (let round = 0; round < 7; round++) {
      const member = await known(net.blue1, `blue.example/crowd/a${round}`);
      for (let each = 0; each < 20; each++) answers.push(await fetchPackage(member));
    }
    expect(answers.filter((each) => each === "CAUSEWAY_LIMIT_RATE").length).toBeGreaterThan(0);
    expect(await fetchPackage(carol)).not.toBe("CAUSEWAY_LIMIT_RATE");
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
});

describe("commits over the network", () => {
  test("the first of an epoch wins and the other member gets it [AGP-60]", async () => {
    expect(await commit(alice, 3, "from alice")).toBe("accepted");
    expect(await commit(bob, 3, "from bob")).toBe("CAUSEWAY_E2EE_STALE_EPOCH from alice");
    expect(await commit(bob, 4, "rebased")).toBe("accepted");
    expect(await commits(alice, 3)).toEqual(["from alice", "rebased"]);
    expect(await commits(alice, 2)).toBe("CAUSEWAY_E2EE_STALE_EPOCH");
  });

  test("a group belongs to its owner: its id at another owner names another group", async () => {
    const carol = await known(net.green1, "green.example/hotels/carol");
    expect(await commit(alice, 3, "at bob")).toBe("accepted");
    expect(await commit(alice, 9, "at carol", { owner: carol })).toBe("accepted");
    expect(await commit(bob, 4, "next")).toBe("accepted");
    expect(await commits(alice, 3)).toEqual(["at bob", "next"]);
    expect(await commits(alice, 9, { owner: carol })).toEqual(["at carol"]);
  });

  test("only commits of the group and epoch that they are for count; what is refused takes no epoch", async () => {
    const groupId = bytes("group");
    const refused: readonly (readonly [Uint8Array, string])[] = [
      [bytes("plain text, long enough"), "CAUSEWAY_PAYLOAD_NOT_MLS"],
      [new Uint8Array(), "CAUSEWAY_PAYLOAD_NOT_MLS"],
      [privateMessage("application", { groupId, epoch: 3 }), "CAUSEWAY_PAYLOAD_NOT_MLS"],
      [privateMessage("x", { groupId, epoch: 4, contentType: 3 }), "CAUSEWAY_HEADER_INVALID"],
      [privateMessage("x", { groupId: bytes("grou"), epoch: 3, contentType: 3 }), "CAUSEWAY_HEADER_INVALID"],
      [new Uint8Array(1_048_577), "CAUSEWAY_LIMIT_COUNT"],
    ];
    for (const [each, code] of refused) expect(await commit(alice, 3, "", { bytes: each })).toBe(code);
    expect(await commit(bob, 3, "in order", { group: "" })).toBe("CAUSEWAY_HEADER_INVALID");
    expect(await commit(bob, 3, "in order", { group: "x".repeat(65) })).toBe("CAUSEWAY_HEADER_INVALID");
    expect(await commit(bob, 3, "in order")).toBe("accepted");
  });

  test("each agent submits and opens a bounded number; others go on", async () => {
    await restartWith({ commitsPerMinute: 3, groupsOpenedPerHour: 2 });
    expect(await commit(alice, 1, "a", { group: "one" })).toBe("accepted");
    expect(await commit(alice, 1, "a", { group: "two" })).toBe("accepted");
    expect(await commit(alice, 1, "a", { group: "three" })).toBe("CAUSEWAY_LIMIT_RATE");
    expect(await commit(alice, 2, "b", { group: "one" })).toBe("CAUSEWAY_LIMIT_RATE");
    expect(await commit(bob, 2, "b", { group: "one" })).toBe("accepted");
    await world.scheduler.advance(60_000);
    expect(await commit(alice, 3, "c", { group: "one" })).toBe("accepted");
    expect(await commit(alice, 1, "c", { group: "three" })).toBe("CAUSEWAY_LIMIT_RATE");
    await world.scheduler.advance(1_800_000);
    expect(await commit(alice, 1, "d", { group: "three" })).toBe("accepted");
  });

  test("bytes count too, and questions as commits do", async () => {
    await restartWith({ commitsPerMinute: 3, commitBytesPerMinute: 400 });
    expect(await commit(alice, 1, "x".repeat(300))).toBe("accepted");
    expect(await commit(alice, 2, "y".repeat(100))).toBe("CAUSEWAY_LIMIT_RATE");
    expect(await commit(bob, 2, "y".repeat(100))).toBe("accepted");
    for (let n = 0; n < 3; n++) expect(await commits(alice, 1)).toHaveLength(2);
    expect(await commits(alice, 1)).toBe("CAUSEWAY_LIMIT_RATE");
  });
});

/** Bob's gateway again, with other limits. */
async function restartWith(limits: Partial<GatewayLimits>): Promise<void> {
  await world.kill(net.green1);
  net.green1.limits = limits;
  await world.start(net.green1);
  await world.scheduler.advance(40_000);
}
