import { createHash, randomBytes } from "node:crypto";
import type { Worker } from "node:worker_threads";
import { createCounters, MemoryLog } from "@causeway/adapter-telemetry";
import type { CausewayError } from "@causeway/core-base";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FrameType, Setting } from "../h2-frames.ts";
import { createPort, type Link, openLink } from "../index.ts";
import { connectRaw, frameOn, promise, request } from "../testing/raw-h2.ts";
import { startPort, TestDomain } from "../testing/world.ts";

const domain = new TestDomain();

const echo = (link: Link): void =>
  link.onFrames((frames) => {
    for (const { buffer, start, end } of frames) link.send(buffer, start, end);
  });

const closed = (link: Link): Promise<CausewayError | undefined> => new Promise((resolve) => link.onClose(resolve));

const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Resolves with `of` each of the next `count` frames. */
function take<T>(link: Link, count: number, of: (frame: Uint8Array) => T): Promise<T[]> {
  return new Promise((resolve) => {
    const taken: T[] = [];
    link.onFrames((frames) => {
      for (const { buffer, start, end } of frames) taken.push(of(buffer.subarray(start, end)));
      if (taken.length >= count) resolve(taken);
    });
  });
}

/** The worker threads that are started while `run` lasts. */
async function workersOf<T>(run: (workers: Worker[]) => Promise<T>): Promise<T> {
  const workers: Worker[] = [];
  const note = (worker: Worker) => void workers.push(worker);
  process.on("worker", note);
  try {
    return await run(workers);
  } finally {
    process.off("worker", note);
  }
}

test("connections are spread over the workers, and counted", async () => {
  await using served = await startPort(domain, { workers: 2, onLink: echo });
  const links = await Promise.all(
    Array.from({ length: 40 }, (_, i) => openLink(domain.dial(served.address, `travel/a${i}`))),
  );
  const answers = links.map(async (link, i) => {
    const answer = take(link, 1, (frame) => Buffer.from(frame).toString());
    link.send(Buffer.from(`from ${i}`));
    expect(await answer).toEqual([`from ${i}`]);
  });
  await Promise.all(answers);
  const counts = served.port.workerConnections;
  expect(counts).toHaveLength(2);
  expect(Math.min(...counts)).toBeGreaterThan(0);
  expect(counts.reduce((a, b) => a + b)).toBe(40);
  expect(served.port.sessionCount).toBe(40);
  for (const link of links) link.close();
});

test("a worker that dies takes its own connections with it, and is started again", () =>
  workersOf(async (workers) => {
    const log = new MemoryLog();
    const counters = createCounters();
    const accepted: Link[] = [];
    await using served = await startPort(domain, {
      workers: 2,
      log,
      counters,
      onLink(link) {
        accepted.push(link);
        echo(link);
      },
    });
    const links = await Promise.all(
      Array.from({ length: 24 }, (_, i) => openLink(domain.dial(served.address, `travel/a${i}`))),
    );
    for (const link of links) link.onFrames(() => undefined);
    const ends = new Map<Link, CausewayError | undefined>();
    const serverEnds: (CausewayError | undefined)[] = [];
    for (const link of links) link.onClose((error) => ends.set(link, error));
    for (const link of accepted) link.onClose((error) => serverEnds.push(error));
    const [lost = 0, kept = 0] = served.port.workerConnections;
    const restarted = new Promise<Worker>((resolve) => process.once("worker", resolve));
    await workers[0]?.terminate();
    // The links of the other worker are as they were.
    await restarted;
    await expect.poll(() => ends.size).toBe(lost);
    expect(serverEnds).toHaveLength(lost);
    for (const error of [...serverEnds, ...ends.values()])
      expect(error).toMatchObject({ code: "CAUSEWAY_UNREACHABLE" });
    expect(serverEnds[0]?.message).toContain("the IO worker of the connection ended");
    const rest = links.filter((link) => !ends.has(link));
    expect(rest).toHaveLength(kept);
    for (const link of rest) {
      const answer = take(link, 1, (frame) => frame.length);
      link.send(Buffer.from("alive"));
      expect(await answer).toEqual([5]);
    }
    expect(log.of("h2.worker_failed").map(({ fields }) => [fields["worker"], fields["restartMs"]])).toEqual([[0, 100]]);
    expect(counters.snapshot()["causeway_h2_workers_failed_total"]).toBe(1);
    // The new one takes connections like the old one.
    await expect
      .poll(async () => {
        links.push(await openLink(domain.dial(served.address, `travel/b${links.length}`)));
        return served.port.workerConnections[0];
      })
      .toBeGreaterThan(0);
    for (const link of links) link.close();
  }));

test("frames of 4 MB cross rings that are smaller, in both directions at once", async () => {
  await using served = await startPort(domain, { workers: 2, onLink: echo });
  const links = await Promise.all(
    Array.from({ length: 3 }, (_, i) => openLink(domain.dial(served.address, `travel/a${i}`))),
  );
  const frames = Array.from({ length: 3 }, () => randomBytes(4_194_304));
  const wanted = frames.map(sha);
  await Promise.all(
    links.map(async (link) => {
      const got = take(link, 3, sha);
      for (const frame of frames) link.send(frame);
      expect(await got).toEqual(wanted);
      link.close();
    }),
  );
});

test("a client that does not read is counted against its own link, and leaves the others of its worker alone [AGP-8]", async () => {
  const accepted = new Map<string, Link>();
  await using served = await startPort(domain, {
    workers: 1,
    onLink(link) {
      accepted.set(link.peer.spiffeId, link);
      echo(link);
    },
    limits: { queueHighWaterBytes: 500_000, queueBytesMax: 4_000_000 },
  });
  const quick = await openLink(domain.dial(served.address, "travel/quick"));
  const deaf = await connectRaw(domain, served.address, "travel/deaf");
  const wide = frameOn(0, FrameType.windowUpdate, 0, Buffer.from([0x70, 0, 0, 0]));
  deaf.write(promise([Setting.initialWindowSize, 0x7fffffff]), wide, request);
  await deaf.frame(({ type }) => type === FrameType.headers);
  deaf.socket.pause();
  const link = accepted.get("spiffe://blue.example/travel/deaf");
  if (link === undefined) throw new Error("expected the link of the raw client");
  // HTTP/2 would let everything through: what stops it is that nobody reads the connection in the worker.
  let sent = 0;
  const frame = Buffer.alloc(99_995);
  const next = (): Buffer => frame.fill(sent++ % 251);
  while (link.send(next())) await new Promise((resolve) => setImmediate(resolve));
  for (let round = 0; round < 20; round++) {
    const answered = take(quick, 10, (bytes) => bytes.length);
    for (let i = 0; i < 10; i++) quick.send(frame);
    expect(await answered).toHaveLength(10);
    while (link.bufferedBytes < 1_000_000) link.send(next());
  }
  const writable = new Promise((resolve) => link.onWritable(resolve));
  deaf.socket.resume();
  await writable;
  const data = () => deaf.frames.filter(({ type }) => type === FrameType.data).map(({ payload }) => payload);
  await deaf.frame(() => data().reduce((sum, { length }) => sum + length, 0) === sent * 100_000);
  const all = Buffer.concat(data());
  for (let i = 0; i < sent; i++) expect(all[i * 100_000 + 5]).toBe(i % 251);
  await expect.poll(() => link.bufferedBytes).toBe(0);
  quick.close();
  deaf.socket.destroy();
});

test("what a link relays to another one keeps its order and content, whichever workers they have", async () => {
  const links = new Map<string, Link>();
  await using served = await startPort(domain, {
    workers: 2,
    onLink(link) {
      const name = link.peer.spiffeId.split("/").at(-1) ?? "";
      links.set(name, link);
      // The first byte of a frame says who gets it.
      link.onFrames((frames) => {
        for (const { buffer, start, end } of frames) links.get(`a${buffer[start] ?? 0}`)?.send(buffer, start, end);
      });
    },
  });
  const count = 6;
  const clients = await Promise.all(
    Array.from({ length: count }, (_, i) => openLink(domain.dial(served.address, `travel/a${i}`))),
  );
  await expect.poll(() => links.size).toBe(count);
  const message = fc.record({
    from: fc.nat(count - 1),
    to: fc.nat(count - 1),
    length: fc.oneof(fc.nat(200), fc.nat(20_000), fc.nat(300_000)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 60 }), async (messages) => {
      const wanted = Array.from({ length: count }, () => new Map<number, string[]>());
      const sent = messages.map(({ from, to, length }, i) => {
        const frame = Buffer.concat([Buffer.from([to, from, i]), Buffer.alloc(length, i * 7 + from)]);
        const lists = wanted[to];
        lists?.set(from, [...(lists.get(from) ?? []), sha(frame)]);
        return { from, frame };
      });
      const received = clients.map(async (client, to) => {
        const due = messages.filter((m) => m.to === to).length;
        const lists = new Map<number, string[]>();
        const frames = due === 0 ? [] : await take(client, due, (bytes) => ({ from: bytes[1] ?? 0, is: sha(bytes) }));
        for (const { from, is } of frames) lists.set(from, [...(lists.get(from) ?? []), is]);
        return lists;
      });
      for (const { from, frame } of sent) clients[from]?.send(frame);
      for (const [to, lists] of (await Promise.all(received)).entries()) {
        const own = wanted[to] ?? new Map<number, string[]>();
        for (const [from, list] of own) expect(lists.get(from)).toEqual(list);
      }
    }),
    { numRuns: 25 },
  );
  for (const client of clients) client.close();
});

test("the limit of connections holds for all workers together", async () => {
  const log = new MemoryLog();
  await using served = await startPort(domain, { workers: 2, onLink: echo, log, limits: { sessionsMax: 3 } });
  const links = await Promise.all([1, 2, 3].map((i) => openLink(domain.dial(served.address, `travel/a${i}`))));
  await expect(openLink(domain.dial(served.address, "travel/a4"))).rejects.toMatchObject({
    code: "CAUSEWAY_UNREACHABLE",
  });
  await expect.poll(() => log.of("h2.connection_dropped")).toHaveLength(1);
  const [first] = links;
  first?.close();
  if (first !== undefined) await closed(first);
  await expect.poll(() => served.port.workerConnections.reduce((a, b) => a + b)).toBe(2);
  links.push(await openLink(domain.dial(served.address, "travel/a5")));
  for (const link of links) link.close();
});

test("a port with workers is not shared with another service, in whichever order they start", async () => {
  await using shared = await startPort(domain, { workers: 2 });
  const { port } = shared.address;
  for (const workers of [0, 2]) {
    const second = createPort({ tls: () => domain.serverTls(), port, authenticate: domain.authenticate, workers });
    await expect(second.start()).rejects.toMatchObject({ code: "CAUSEWAY_PORT_IN_USE" });
    await second.stop();
  }
  await using alone = await startPort(domain);
  const third = createPort({
    tls: () => domain.serverTls(),
    port: alone.address.port,
    authenticate: domain.authenticate,
    workers: 2,
  });
  await expect(third.start()).rejects.toMatchObject({ code: "CAUSEWAY_PORT_IN_USE" });
  await third.stop();
});

test("a port that stops leaves no worker behind", () =>
  workersOf(async (workers) => {
    const served = await startPort(domain, { workers: 2, onLink: echo });
    const link = await openLink(domain.dial(served.address));
    link.onFrames(() => undefined);
    const gone = Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));
    await served.port.stop({ deadlineMs: 20 });
    expect(await closed(link)).toMatchObject({ code: "CAUSEWAY_GATEWAY_DRAINING" });
    expect(await gone).toHaveLength(2);
  }));

test("a port that cannot start leaves no worker behind, and none comes later", () =>
  workersOf(async (workers) => {
    const port = createPort({
      tls: () => ({ cert: "no certificate", key: "no key" }),
      authenticate: domain.authenticate,
      port: 0,
      workers: 2,
    });
    await expect(port.start()).rejects.toMatchObject({ code: "CAUSEWAY_CONFIG_INVALID" });
    const started = workers.length;
    await Promise.all(
      workers.map((worker) => worker.threadId < 0 || new Promise((resolve) => worker.once("exit", resolve))),
    );
    // Longer than what a worker that ended waits before it is started again.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(workers).toHaveLength(started);
    await port.stop();
  }));
