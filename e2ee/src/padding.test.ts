import { expect, test } from "vitest";
import { applicationOverheadBytes, bucketFor } from "./padding.ts";
import { World } from "./testing/world.ts";

test("sizes of ciphertexts fall in a small fixed set [AGP-52]", async () => {
  const world = new World();
  const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
  await alice.send(bob, "hello");
  await bob.send(alice, "hello");
  const sizes = new Map<number, number[]>();
  for (const length of [0, 1, 50, 100, 186, 187, 300, 442, 443, 900, 2_000, 4_000, 4_100, 5_000, 10_000, 60_000]) {
    const [frame] = await alice.e2ee.seal(bob.id, new Uint8Array(length));
    const size = frame?.payload.length ?? 0;
    sizes.set(size, [...(sizes.get(size) ?? []), length]);
  }
  expect([...sizes.values()]).toEqual([
    [0, 1, 50, 100, 186],
    [187, 300, 442],
    [443, 900],
    [2_000, 4_000],
    [4_100],
    [5_000],
    [10_000],
    [60_000],
  ]);
});

test("handshakes of few and of many changes have sizes of the same set [AGP-52]", async () => {
  const world = new World();
  const owner = await world.agent("owner");
  const members = [];
  for (let i = 0; i < 6; i++) members.push(await world.agent(`m${i}`));
  const { groupId } = await owner.e2ee.createGroup("blue.example/owner/sizes");
  const [first, ...rest] = members;
  await owner.e2ee.addMembers(groupId, [first?.id ?? owner.id]);
  const overhead = 200;
  for (const member of rest) {
    const { frames } = await owner.e2ee.addMembers(groupId, [member.id]);
    for (const frame of frames) {
      const bucket = bucketFor(frame.payload.length - overhead);
      expect(frame.payload.length - bucket).toBeLessThan(overhead);
    }
  }
});

test("padding costs at most an eighth above 4 KiB", () => {
  for (let length = 4_097; length < 4_200_000; length = Math.ceil(length * 1.07)) {
    const size = bucketFor(length);
    expect(size).toBeGreaterThanOrEqual(length);
    expect(size / length).toBeLessThan(1.125 + 1e-9);
    expect(bucketFor(size)).toBe(size);
  }
  expect(bucketFor(0)).toBe(256);
  expect(bucketFor(257)).toBe(512);
  expect(bucketFor(4_096)).toBe(4_096);
  expect(applicationOverheadBytes).toBe(70);
});
