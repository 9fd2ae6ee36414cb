/** What every `GatewayStore` has to do. Called from a test file of each implementation. */
import {
  type AgentId,
  asUnixMs,
  type GatewayStore,
  type GatewayUri,
  parseAgentId,
  parseGatewayUri,
  type StoredRecord,
} from "@causeway/core-base";
import { describe, expect, test } from "vitest";

/** How the suite gets at an implementation. */
export interface GatewayStoreSubject {
  /** An empty store of the given epoch. */
  create(epoch: bigint): GatewayStore;
  /** What a restart of the process would find; the store before may not be used any more. */
  reopen(store: GatewayStore): GatewayStore;
}

const agent = parseAgentId("blue.example/travel/booker");
const other = parseAgentId("blue.example/travel/carrier");
const origin1 = parseGatewayUri("https://gw1.blue.example/amsp");
const origin2 = parseGatewayUri("https://gw2.blue.example/amsp");
const at = asUnixMs(1_000);
const bytes = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
const list = (packages: readonly Uint8Array[] | undefined): readonly string[] | undefined =>
  packages?.map((each) => String.fromCharCode(...each));

function recordOf(
  agentId: AgentId,
  origin: GatewayUri,
  sequence: bigint,
  more: Partial<StoredRecord> = {},
): StoredRecord {
  return {
    agentId,
    origin,
    epoch: 7n,
    sequence,
    withdrawn: false,
    statement: bytes(`statement ${sequence}`),
    record: bytes(`record of ${agentId}`),
    storedAt: at,
    ...more,
  };
}

const plain = (records: Iterable<StoredRecord>): readonly unknown[] =>
  [...records].map((each) => ({
    ...each,
    statement: String.fromCharCode(...each.statement),
    record: each.record && String.fromCharCode(...each.record),
  }));

/** Declares the suite. */
export function gatewayStoreContract(name: string, subject: GatewayStoreSubject): void {
  describe(`${name}: gateway store`, () => {
    test("a stored record is there after a restart [AMSP-60]", () => {
      const store = subject.create(3n);
      const kept = [recordOf(agent, origin1, 1n), recordOf(agent, origin2, 2n), recordOf(other, origin1, 3n)];
      for (const each of kept) store.putRecord(each);
      const again = subject.reopen(store);
      expect(plain(again.records())).toEqual(plain(kept));
      expect(plain(again.recordsOf(agent))).toEqual(plain(kept.slice(0, 2)));
      expect(again.recordCount()).toBe(3);
    });

    test("a newer version replaces the one of the same agent and origin", () => {
      const store = subject.create(3n);
      store.putRecord(recordOf(agent, origin1, 1n));
      store.putRecord(recordOf(agent, origin1, 2n, { record: bytes("changed") }));
      expect(plain(store.recordsOf(agent))).toEqual(
        plain([recordOf(agent, origin1, 2n, { record: bytes("changed") })]),
      );
      store.deleteRecord(agent, origin1);
      expect(store.recordsOf(agent)).toEqual([]);
    });

    test("versions keep all 64 bits", () => {
      const store = subject.create(3n);
      const largest = 2n ** 64n - 1n;
      store.putRecord(recordOf(agent, origin1, largest, { epoch: largest }));
      expect(plain(subject.reopen(store).records())).toEqual(
        plain([recordOf(agent, origin1, largest, { epoch: largest })]),
      );
    });

    test("records come in key order, whatever the order of writing and their number", () => {
      const store = subject.create(3n);
      const agents = Array.from({ length: 600 }, (_, index) =>
        parseAgentId(`blue.example/many/a${String((index * 7) % 600).padStart(4, "0")}`),
      );
      store.atomically(() => {
        for (const each of agents) store.putRecord(recordOf(each, origin1, 1n));
      });
      expect([...store.records()].map((each) => each.agentId)).toEqual([...agents].sort());
    });

    test("a tombstone has no body, does not count, and goes when it is old", () => {
      const store = subject.create(3n);
      store.putRecord(recordOf(agent, origin1, 1n));
      store.putRecord(recordOf(agent, origin1, 2n, { withdrawn: true, record: undefined }));
      store.putRecord(recordOf(other, origin1, 3n));
      const again = subject.reopen(store);
      expect(again.recordCount()).toBe(1);
      expect(again.recordsOf(agent)[0]).toMatchObject({ withdrawn: true, record: undefined, sequence: 2n });
      expect(again.pruneTombstones(asUnixMs(1_000))).toBe(0);
      expect(again.pruneTombstones(asUnixMs(1_001))).toBe(1);
      expect([...again.records()]).toHaveLength(1);
    });

    test("the version given out last stays over a restart and never goes back", () => {
      const store = subject.create(42n);
      expect(store.ownVersion()).toEqual({ epoch: 42n, sequence: 0n });
      store.putOwnVersion({ epoch: 42n, sequence: 2n });
      const again = subject.reopen(store);
      expect(again.ownVersion()).toEqual({ epoch: 42n, sequence: 2n });
      expect(() => again.putOwnVersion({ epoch: 42n, sequence: 1n })).toThrow("version");
      expect(() => again.putOwnVersion({ epoch: 41n, sequence: 9n })).toThrow("version");
      again.putOwnVersion({ epoch: 43n, sequence: 0n });
      expect(again.ownVersion()).toEqual({ epoch: 43n, sequence: 0n });
    });

    test("a failed transaction leaves nothing behind, and the next one works", () => {
      const store = subject.create(3n);
      const fail = (): void =>
        store.atomically(() => {
          store.putOwnVersion({ epoch: 3n, sequence: 1n });
          store.putRecord(recordOf(agent, origin1, 1n));
          store.atomically(() => store.putTopic({ topic: "t", owner: agent, policy: bytes(""), createdAt: at }));
          throw new Error("stop");
        });
      expect(fail).toThrow("stop");
      expect(store.ownVersion().sequence).toBe(0n);
      expect([...store.records()]).toEqual([]);
      expect(store.topics()).toEqual([]);
      store.atomically(() => store.putRecord(recordOf(agent, origin1, 1n)));
      expect(subject.reopen(store).recordCount()).toBe(1);
    });

    test("vectors are kept for each origin", () => {
      const store = subject.create(3n);
      store.putVector({ origin: origin1, epoch: 1n, sequence: 5n });
      store.putVector({ origin: origin2, epoch: 1n, sequence: 6n });
      store.putVector({ origin: origin1, epoch: 2n, sequence: 1n });
      store.deleteVector(origin2);
      expect(subject.reopen(store).vectors()).toEqual([{ origin: origin1, epoch: 2n, sequence: 1n }]);
    });

    test("each key package is handed out once, also over a restart; then the last resort [AGP-60]", () => {
      const store = subject.create(3n);
      expect(store.takeKeyPackage(agent)).toBeUndefined();
      expect(store.addKeyPackages(agent, [bytes("a"), bytes("b")], bytes("last"), 10)).toBe(2);
      store.addKeyPackages(other, [bytes("x")], undefined, 10);
      expect(list([store.takeKeyPackage(agent)?.keyPackage ?? bytes("")])).toEqual(["a"]);
      const again = subject.reopen(store);
      expect(again.keyPackageCount(agent)).toBe(1);
      const taken = [again.takeKeyPackage(agent), again.takeKeyPackage(agent), again.takeKeyPackage(agent)];
      expect(list(taken.map((each) => each?.keyPackage ?? bytes("none")))).toEqual(["b", "last", "last"]);
      expect(taken.map((each) => each?.lastResort)).toEqual([false, true, true]);
      again.dropKeyPackages(agent);
      expect(again.takeKeyPackage(agent)).toBeUndefined();
      expect(again.keyPackageCount(other)).toBe(1);
    });

    test("beyond the bound the oldest key packages go", () => {
      const store = subject.create(3n);
      expect(store.addKeyPackages(agent, ["a", "b", "c"].map(bytes), undefined, 2)).toBe(2);
      expect(list([store.takeKeyPackage(agent)?.keyPackage ?? bytes("")])).toEqual(["b"]);
    });

    test("the first commit of an epoch wins, also over a restart; the loser gets the winner [AGP-60]", () => {
      const group = bytes("group");
      const store = subject.create(3n);
      expect(store.submitCommit(group, 4n, bytes("first"), at, 10)).toEqual({ accepted: true });
      const again = subject.reopen(store);
      const loser = again.submitCommit(group, 4n, bytes("second"), at, 10);
      expect(loser).toMatchObject({ accepted: false, nextEpoch: 5n });
      expect(loser.accepted ? undefined : list(loser.winner && [loser.winner])).toEqual(["first"]);
      expect(again.submitCommit(group, 4n, bytes("first"), at, 10)).toEqual({ accepted: true });
      expect(again.submitCommit(group, 9n, bytes("ahead"), at, 10)).toEqual({
        accepted: false,
        winner: undefined,
        nextEpoch: 5n,
      });
      expect(again.submitCommit(group, 5n, bytes("next"), at, 10)).toEqual({ accepted: true });
      expect(list(again.commits(group, 4n, 10))).toEqual(["first", "next"]);
      expect(list(again.commits(group, 5n, 10))).toEqual(["next"]);
      expect(list(again.commits(group, 4n, 1))).toEqual(["first"]);
      expect(again.commits(bytes("unknown"), 0n, 10)).toEqual([]);
    });

    test("a group keeps its newest commits and says when older ones are gone", () => {
      const group = bytes("group");
      const store = subject.create(3n);
      for (let epoch = 0n; epoch < 5n; epoch++) store.submitCommit(group, epoch, bytes(`c${epoch}`), at, 3);
      expect(store.commits(group, 1n, 10)).toBeUndefined();
      expect(list(store.commits(group, 2n, 10))).toEqual(["c2", "c3", "c4"]);
      expect(store.submitCommit(group, 0n, bytes("late"), at, 3)).toMatchObject({ accepted: false, nextEpoch: 5n });
      expect(store.pruneGroups(at)).toBe(0);
      expect(store.pruneGroups(asUnixMs(at + 1))).toBe(1);
      expect(store.commits(group, 2n, 10)).toEqual([]);
    });

    test("tells how much of the delivery service it holds", () => {
      const store = subject.create(3n);
      expect(store.deliverySizes()).toEqual({ keyPackages: 0, groups: 0, commits: 0 });
      store.addKeyPackages(parseAgentId("blue.example/x/a"), [bytes("p1"), bytes("p2")], bytes("last"), 10);
      for (let epoch = 0n; epoch < 3n; epoch++) store.submitCommit(bytes("group"), epoch, bytes(`c${epoch}`), at, 2);
      expect(store.deliverySizes()).toEqual({ keyPackages: 2, groups: 1, commits: 2 });
    });

    test("how long an agent may be away survives a restart until it is forgotten", () => {
      const store = subject.create(3n);
      expect(store.awayMs(agent)).toBe(0);
      store.setAway(agent, 60_000);
      store.setAway(other, 1);
      store.setAway(agent, 86_400_000);
      const again = subject.reopen(store);
      expect(again.awayMs(agent)).toBe(86_400_000);
      again.setAway(agent, 0);
      expect([again.awayMs(agent), again.awayMs(other)]).toEqual([0, 1]);
    });

    test("topics survive a restart until deleted", () => {
      const store = subject.create(3n);
      store.putTopic({ topic: "blue.example/travel/booker/deals", owner: agent, policy: bytes("p"), createdAt: at });
      store.putTopic({ topic: "blue.example/travel/booker/more", owner: agent, policy: bytes("q"), createdAt: at });
      const again = subject.reopen(store);
      again.deleteTopic("blue.example/travel/booker/more");
      expect(again.topics().map((each) => [each.topic, each.owner, list([each.policy])?.[0], each.createdAt])).toEqual([
        ["blue.example/travel/booker/deals", agent, "p", at],
      ]);
    });
  });
}
