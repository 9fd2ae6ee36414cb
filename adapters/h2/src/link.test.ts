import { randomBytes } from "node:crypto";
import { CausewayError, refuse } from "@causeway/core-base";
import { Lane } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { type Link, openLink } from "./index.ts";
import { connectSession, openRawLink } from "./testing/raw-client.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

const echo = (link: Link): void =>
  link.onFrames((frames) => {
    for (const { buffer, start, end } of frames) link.send(buffer, start, end);
  });

const closed = (link: Link): Promise<CausewayError | undefined> => new Promise((resolve) => link.onClose(resolve));

/** Resolves with copies of the next `count` frames. */
function take(link: Link, count: number): Promise<Buffer[]> {
  return new Promise((resolve) => {
    const taken: Buffer[] = [];
    link.onFrames((frames) => {
      for (const { buffer, start, end } of frames) taken.push(Buffer.from(buffer.subarray(start, end)));
      if (taken.length >= count) resolve(taken);
    });
  });
}

test("keeps order and content of frames from 0 to 300 KB", async () => {
  await using world = await startPort(domain, { onLink: echo });
  const link = await openLink(domain.dial(world.address));
  const sizes = [0, 1, 4, 5, 100, 1_023, 16_379, 16_384, 16_385, 65_536, 100_000, 262_139, 262_144, 300_000, 0, 7];
  const sent = [...sizes, ...sizes, ...sizes].map((size) => randomBytes(size));
  const answered = take(link, sent.length);
  for (const frame of sent) link.send(frame);
  const got = await answered;
  expect(got.map((f) => f.length)).toEqual(sent.map((f) => f.length));
  for (const [i, frame] of got.entries()) expect(frame.equals(sent[i] ?? Buffer.alloc(0))).toBe(true);
  link.close();
  expect(await closed(link)).toBeUndefined();
});

test("gives both ends the same channel binding and the peer's certified name", async () => {
  const accepted = Promise.withResolvers<Link>();
  await using world = await startPort(domain, { onLink: accepted.resolve });
  const link = await openLink(domain.dial(world.address, "travel/booker"));
  const other = await accepted.promise;
  expect(other.peer.spiffeId).toBe("spiffe://blue.example/travel/booker");
  expect(link.peer.spiffeId).toBe("spiffe://blue.example/gateway/gw1");
  expect(Buffer.from(other.channelBinding)).toEqual(Buffer.from(link.channelBinding));
  const second = await openLink(domain.dial(world.address, "travel/booker"));
  expect(Buffer.from(second.channelBinding)).not.toEqual(Buffer.from(link.channelBinding));
  link.close();
  second.close();
});

test("delivers what was queued before a close, then the status", async () => {
  await using world = await startPort(domain, {
    onLink: (link) => {
      for (let i = 0; i < 1_000; i++) link.send(Buffer.from(`frame ${i}`));
      link.close(
        refuse("CAUSEWAY_ATTACHMENT_REPLACED", "a newer attachment took over", { details: { instance: "one" } }),
      );
      expect(link.send(Buffer.from("late"))).toBe(false);
    },
  });
  const link = await openLink(domain.dial(world.address));
  const frames = take(link, 1_000);
  const end = await closed(link);
  expect((await frames).map(String)).toEqual(Array.from({ length: 1_000 }, (_, i) => `frame ${i}`));
  expect(end).toMatchObject({
    code: "CAUSEWAY_ATTACHMENT_REPLACED",
    message: "a newer attachment took over",
    details: { instance: "one" },
  });
});

test("a half-close of the client ends the link in order at both ends", async () => {
  const accepted = Promise.withResolvers<Link>();
  await using world = await startPort(domain, {
    onLink: (link) => {
      echo(link);
      accepted.resolve(link);
    },
  });
  const link = await openLink(domain.dial(world.address));
  const answer = take(link, 1);
  link.send(Buffer.from("last words"));
  link.close();
  const other = await accepted.promise;
  expect(await closed(other)).toBeUndefined();
  expect(await closed(link)).toBeUndefined();
  // After close() the client takes nothing more.
  await expect(Promise.race([answer, Promise.resolve("nothing")])).resolves.toBe("nothing");
});

test("a receiver that throws loses its link and nothing else", async () => {
  const defects: unknown[] = [];
  await using world = await startPort(domain, {
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: (event) => defects.push(event) },
    onLink: (link) =>
      link.onFrames(() => {
        throw new TypeError("a defect with a secret in it");
      }),
  });
  const link = await openLink(domain.dial(world.address));
  link.onFrames(() => undefined);
  link.send(Buffer.from("x"));
  const end = await closed(link);
  expect(end).toMatchObject({ code: "CAUSEWAY_INTERNAL" });
  expect(end?.message).not.toContain("secret");
  expect(defects).toEqual(["h2.link_receiver_failed"]);
  const next = await openLink(domain.dial(world.address));
  next.close();
});

test("a receiver that stops reading holds its sender back with bounded memory and leaves other links alone [AGP-8]", async () => {
  const links: Link[] = [];
  const both = Promise.withResolvers<void>();
  await using world = await startPort(domain, {
    onLink: (link) => {
      links.push(link);
      if (link.peer.spiffeId.endsWith("/slow")) link.onFrames(() => link.pause());
      else echo(link);
      if (links.length === 2) both.resolve();
    },
    limits: { streamWindowBytes: 262_144, sessionWindowBytes: 1_048_576 },
  });
  const limits = { queueHighWaterBytes: 1_048_576, queueBytesMax: 4_194_304 };
  const slow = await openLink({ ...domain.dial(world.address, "travel/slow"), limits });
  const quick = await openLink({ ...domain.dial(world.address, "travel/quick"), limits });
  await both.promise;
  slow.onFrames(() => undefined);

  const before = process.memoryUsage();
  const frame = Buffer.alloc(1_000, 1);
  let sent = 0;
  // Sends until it is told to stop, and once more in each later turn: nothing is taken any more.
  for (let turn = 0; turn < 50; turn++) {
    while (slow.send(frame)) sent += 1;
    await new Promise((resolve) => setImmediate(resolve));
    const answered = take(quick, 20);
    for (let i = 0; i < 20; i++) quick.send(frame);
    expect((await answered).length).toBe(20);
  }
  expect(slow.bufferedBytes).toBeLessThan(limits.queueBytesMax);
  expect(sent * frame.length).toBeLessThan(limits.queueHighWaterBytes + 4 * 262_144 + 2_097_152);
  const after = process.memoryUsage();
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(33_554_432);

  // Once the receiver reads again, the sender is told and everything arrives.
  const writable = new Promise<Lane>((resolve) => slow.onWritable(resolve));
  const stalled = links.find((link) => link.peer.spiffeId.endsWith("/slow"));
  stalled?.onFrames(() => undefined);
  stalled?.resume();
  expect(await writable).toBe(Lane.urgent);
  expect(slow.bufferedBytes).toBeLessThan(limits.queueHighWaterBytes);
  slow.close();
  quick.close();
  expect(await closed(slow)).toBeUndefined();
});

test("a queue at its bound closes the link with CAUSEWAY_FORWARDING_OVERLOADED", async () => {
  const sender = Promise.withResolvers<Link>();
  await using world = await startPort(domain, {
    onLink: sender.resolve,
    limits: { queueHighWaterBytes: 10_000, queueBytesMax: 100_000, closeMs: 100 },
  });
  const link = await openLink({ ...domain.dial(world.address), limits: { streamWindowBytes: 65_535 } });
  const other = await sender.promise;
  const frame = Buffer.alloc(1_000);
  let refusals = 0;
  for (let i = 0; i < 200; i++) if (!other.send(frame)) refusals += 1;
  expect(refusals).toBeGreaterThan(100);
  expect(other.bufferedBytes).toBe(0);
  link.onFrames(() => undefined);
  expect(await closed(link)).toMatchObject({ code: "CAUSEWAY_FORWARDING_OVERLOADED" });
  expect(await closed(other)).toMatchObject({ code: "CAUSEWAY_FORWARDING_OVERLOADED" });
});

test("500 streams share one connection, and a paused one does not stop the others [AGP-7]", async () => {
  const streamWindowBytes = 65_535;
  await using world = await startPort(domain, {
    limits: { streamsPerSessionMax: 500, streamWindowBytes, sessionWindowBytes: 1_048_576 },
    onLink: (link) => {
      link.onFrames((frames) => {
        for (const { buffer, start, end } of frames) {
          if (buffer[start] === pauseMark) link.pause();
          link.send(buffer, start, end);
        }
      });
    },
  });
  const session = await connectSession(domain, world.address);
  const [paused, ...others] = Array.from({ length: 500 }, () => openRawLink(session));
  if (paused === undefined) throw new Error("expected a stream");
  const isPaused = paused.nextFrame();
  paused.sendFrame(Buffer.from([pauseMark]));
  await isPaused;
  // Fills the window of the paused stream, which is all that its sender can still send.
  paused.sendFrame(Buffer.alloc(2 * streamWindowBytes));
  const answers = others.map((raw, i) => {
    raw.sendFrame(Buffer.from([1, i >> 8, i & 255]));
    return raw.nextFrame();
  });
  for (const [i, answer] of (await Promise.all(answers)).entries()) expect(answer.readUInt16BE(1)).toBe(i);
  expect(world.port.sessionCount).toBe(1);
  session.destroy();
});

/** First byte of a frame that makes the receiver stop reading. */
const pauseMark = 0xff;
