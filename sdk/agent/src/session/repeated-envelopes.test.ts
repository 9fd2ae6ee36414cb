import { DeliveryMode, FrameScan, scanFrame } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { TestNetwork } from "../testing/index.ts";

test("every envelope is acknowledged to the gateway, also those that repeat a message which is being handled", async () => {
  const network = new TestNetwork();
  const alice = await network.connect("blue.example/travel/alice");
  const bob = await network.connect("green.example/hotels/bob");
  let finish: () => void = () => undefined;
  bob.onMessage(({ data }) => (data === "slow" ? new Promise<void>((resolve) => (finish = resolve)) : undefined));
  await network.clock.until(alice.send(bob.id, "first"));
  const scan = new FrameScan();
  const sent = new Set<string>();
  // Nothing that bob says arrives, so that alice repeats.
  let isMute = true;
  network.hub.intercept = (frame) => {
    scanFrame(frame, 0, frame.length, scan);
    if (scan.source() === bob.id) return isMute ? undefined : frame;
    if (scan.deliveryMode === DeliveryMode.reliable) sent.add(scan.messageId());
    return frame;
  };
  // Together in one envelope, and together again in another.
  const texts = ["slow", "second", "third"];
  const all = Promise.all(texts.map((text) => alice.send(bob.id, text, { timeoutMs: 600_000 })));
  await network.clock.advance(60_000);
  expect(sent.size).toBeGreaterThan(1);
  isMute = false;
  finish();
  await network.clock.until(all);
  await network.clock.advance(1_000);
  const acknowledged = new Set(network.hub.mailboxAcks.map((each) => each.split(" ")[2]));
  expect([...sent].filter((id) => !acknowledged.has(id))).toEqual([]);
});

test("what a gateway hands over again at the next attachment is acknowledged again, is heard once, and is no failure [AAP-70]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect("blue.example/travel/alice");
  const bob = await network.connect("green.example/hotels/bob");
  const heard: unknown[] = [];
  const failures: string[] = [];
  bob.onMessage(({ data }) => void heard.push(data));
  bob.onEvent((event) => {
    if (event.type === "security") failures.push(event.error.code);
  });
  await network.clock.until(alice.send(bob.id, "first"));
  const stored: Uint8Array[] = [];
  const scan = new FrameScan();
  network.hub.intercept = (frame) => {
    scanFrame(frame, 0, frame.length, scan);
    if (scan.source() === alice.id && scan.deliveryMode === DeliveryMode.reliable) stored.push(frame.slice());
    return frame;
  };
  for (const text of ["second", "third"]) await network.clock.until(alice.send(bob.id, text));
  await network.clock.advance(1_000);
  const before = network.hub.mailboxAcks.length;
  network.hub.cut(bob.id);
  await network.clock.advance(30_000);
  expect(stored.length).toBeGreaterThan(1);
  for (const frame of stored) network.hub.inject(bob.id, frame);
  await network.clock.advance(1_000);
  expect(heard).toEqual(["first", "second", "third"]);
  expect(network.hub.mailboxAcks.slice(before)).toHaveLength(stored.length);
  expect(network.hub.mailboxAcks.filter((each) => each.includes("CAUSEWAY_"))).toEqual([]);
  expect(failures).toEqual([]);
  // Once for each attachment; more often it is a replay, of which the gateway hears nothing.
  for (const frame of stored) network.hub.inject(bob.id, frame);
  await network.clock.advance(1_000);
  expect(failures).toEqual(stored.map(() => "CAUSEWAY_E2EE_DECRYPT_FAILED"));
  expect(network.hub.mailboxAcks.slice(before)).toHaveLength(stored.length);
});
