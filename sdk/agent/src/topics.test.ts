/** Topics: creation, membership by the owner's rights, publication in the topic's group. */
import { describe, expect, test } from "vitest";
import type { AgentEvent, Publication } from "./api.ts";
import { codeOf, type TestAgent, TestNetwork } from "./testing/index.ts";

const ownerName = "blue.example/travel/owner";

async function world(
  rights = {},
): Promise<{ network: TestNetwork; owner: TestAgent; subscribers: TestAgent[]; topic: string }> {
  const network = new TestNetwork();
  const owner = await network.connect(ownerName);
  const names = ["blue.example/travel/sub1", "green.example/hotels/sub2", "green.example/hotels/sub3"];
  const subscribers: TestAgent[] = [];
  for (const name of names) subscribers.push(await network.connect(name));
  const topic = await network.clock.until(owner.createTopic("deals", rights));
  return { network, owner, subscribers, topic };
}

describe("a topic", () => {
  test("reaches three subscribers of two domains once each, in order, and gateways see ciphertext", async () => {
    const { network, owner, subscribers, topic } = await world();
    expect(topic).toBe("blue.example/travel/owner/deals");
    const heard = subscribers.map(() => [] as unknown[]);
    for (const [i, agent] of subscribers.entries()) {
      await network.clock.until(
        agent.subscribe(topic, ({ data, from }) => void heard[i]?.push(`${from} ${String(data)}`)),
      );
    }
    for (const text of ["one", "two", "three"]) await network.clock.until(owner.publish(topic, text));
    await network.clock.advance(1_000);
    for (const list of heard) expect(list).toEqual(["one", "two", "three"].map((text) => `${owner.id} ${text}`));
    expect(owner.status().topics).toMatchObject([{ topic, members: 4 }]);
    for (const frame of network.hub.seen) expect(Buffer.from(frame).includes("three")).toBe(false);
  });

  test("takes members at once without losing one: commits are put in order", async () => {
    const { network, owner, subscribers, topic } = await world();
    const heard: Publication[] = [];
    await network.clock.until(
      Promise.all(subscribers.map((agent) => agent.subscribe(topic, (p) => void heard.push(p)))),
    );
    await network.clock.until(owner.publish(topic, { price: 1 }));
    await network.clock.advance(1_000);
    expect(heard.map(({ data }) => data)).toEqual([{ price: 1 }, { price: 1 }, { price: 1 }]);
  });

  test("lets publish whom its rights name, and nobody else", async () => {
    const { network, owner, subscribers, topic } = await world({
      publishers: ["green.example/hotels/"],
      subscribers: ["green.example/", "blue.example/travel/owner"],
    });
    const [blue, green, other] = subscribers as [TestAgent, TestAgent, TestAgent];
    const heard: unknown[] = [];
    await network.clock.until(other.subscribe(topic, ({ data, from }) => void heard.push([from, data])));
    await network.clock.until(green.publish(topic, "from green"));
    await network.clock.until(owner.publish(topic, "from the owner"));
    await network.clock.advance(1_000);
    expect(heard).toEqual([
      [green.id, "from green"],
      [owner.id, "from the owner"],
    ]);
    expect(await codeOf(network.clock.until(blue.subscribe(topic, () => undefined)))).toBe(
      "CAUSEWAY_TOPIC_NOT_ALLOWED",
    );
    expect(await codeOf(network.clock.until(blue.publish(topic, "x")))).toBe("CAUSEWAY_TOPIC_NOT_ALLOWED");
    expect(await codeOf(network.clock.until(blue.subscribe("blue.example/travel/owner/absent", () => undefined)))).toBe(
      "CAUSEWAY_TOPIC_NOT_FOUND",
    );
    expect(await codeOf(owner.createTopic("no/../topic"))).toBe("CAUSEWAY_NAME_INVALID");
  });

  test("loses a member that closes its subscription: it gets nothing more and the others do", async () => {
    const { network, owner, subscribers, topic } = await world();
    const heard = subscribers.map(() => [] as unknown[]);
    const running = [];
    for (const [i, agent] of subscribers.entries()) {
      running.push(await network.clock.until(agent.subscribe(topic, ({ data }) => void heard[i]?.push(data))));
    }
    await network.clock.until(owner.publish(topic, 1));
    await network.clock.advance(1_000);
    await network.clock.until(running[0]?.close() ?? Promise.resolve());
    await network.clock.advance(2_000);
    await network.clock.until(owner.publish(topic, 2));
    await network.clock.advance(1_000);
    expect(heard).toEqual([[1], [1, 2], [1, 2]]);
    expect(owner.status().topics[0]?.members).toBe(3);
  });

  test("tells a subscriber how many publications it missed", async () => {
    const { network, owner, subscribers, topic } = await world();
    const [subscriber] = subscribers as [TestAgent];
    const heard: Publication[] = [];
    const gaps: AgentEvent[] = [];
    subscriber.onEvent((event) => {
      if (event.type === "gap") gaps.push(event);
    });
    await network.clock.until(subscriber.subscribe(topic, (p) => void heard.push(p)));
    await network.clock.until(owner.publish(topic, 1));
    await network.clock.advance(500);
    network.hub.faults = { loss: 1 };
    await network.clock.until(owner.publish(topic, 2));
    await network.clock.until(owner.publish(topic, 3));
    await network.clock.advance(500);
    network.hub.faults = {};
    await network.clock.until(owner.publish(topic, 4));
    await network.clock.advance(500);
    expect(heard.map(({ data, missed }) => [data, missed])).toEqual([
      [1, 0],
      [4, 2],
    ]);
    expect(gaps).toMatchObject([{ scope: "topic", name: topic, missed: 2 }]);
  });

  test("survives a restart of its owner: rights and members stay", async () => {
    const { network, owner, subscribers, topic } = await world();
    const [subscriber, late] = subscribers as [TestAgent, TestAgent];
    const heard: unknown[] = [];
    await network.clock.until(subscriber.subscribe(topic, ({ data }) => void heard.push(data)));
    await network.clock.until(owner.close());
    const again = await network.connect(ownerName, { home: owner.home });
    await network.clock.until(again.publish(topic, "after"));
    await network.clock.until(late.subscribe(topic, ({ data }) => void heard.push(data)));
    await network.clock.advance(500);
    expect(heard).toEqual(["after"]);
    await network.clock.until(again.publish(topic, "both"));
    await network.clock.advance(500);
    expect(heard).toEqual(["after", "both", "both"]);
  });

  test("removes a revoked member: it cannot read what comes after", async () => {
    const { network, owner, subscribers, topic } = await world();
    const [bad, good] = subscribers as [TestAgent, TestAgent];
    const heard: unknown[] = [];
    await network.clock.until(good.subscribe(topic, ({ data }) => void heard.push(data)));
    await network.clock.until(bad.subscribe(topic, () => void heard.push("revoked agent heard")));
    network.revoke(bad.home.identity);
    await network.clock.advance(61_000);
    await network.clock.until(owner.publish(topic, "secret"));
    await network.clock.advance(1_000);
    expect(heard).toEqual(["secret"]);
    expect(owner.status().topics[0]?.members).toBe(2);
  });
});
