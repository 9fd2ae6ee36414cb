/** Connections that begin and never finish their handshake, beside agents that do (AAP-102). */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { MemoryLog } from "@causeway/adapter-telemetry";
import { expect, test } from "vitest";
import { type Link, openLink, type PortAddress } from "./index.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

const echo = (link: Link): void =>
  link.onFrames((frames) => {
    for (const { buffer, start, end } of frames) link.send(buffer, start, end);
  });

async function echoed(link: Link, text: string): Promise<string> {
  const answer = new Promise<string>((resolve) =>
    link.onFrames((frames) =>
      resolve(frames.map(({ buffer, start, end }) => Buffer.from(buffer.subarray(start, end)).toString()).join()),
    ),
  );
  link.send(Buffer.from(text));
  return answer;
}

/** The first bytes of a client, to which a server answers with its certificate, and waits. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read: () => undefined,
      write(chunk: Buffer, _encoding, done) {
        resolve(chunk);
        done();
      },
    });
    connectTls({ socket: wire, ALPNProtocols: ["h2"] }).on("error", () => undefined);
  });
}

/** Connections of which every second one says nothing, and the others stop in the middle of the handshake. */
class Flood implements Disposable {
  readonly #sockets: Socket[] = [];

  get open(): number {
    return this.#sockets.filter((socket) => !socket.destroyed).length;
  }

  async add(address: PortAddress, count: number, hello: Buffer): Promise<void> {
    const added = Array.from({ length: count }, async (_, i) => {
      const socket = connectTcp(address.port, address.host);
      socket.on("error", () => undefined);
      socket.resume();
      this.#sockets.push(socket);
      await once(socket, "connect").catch(() => undefined);
      if (i % 2 === 1 && socket.writable) socket.write(hello);
    });
    await Promise.all(added);
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

test("idle connections and half handshakes of one address leave room for agents, also behind that address [AAP-102]", async () => {
  const log = new MemoryLog();
  const limits = { sessionsMax: 400, handshakesPerSourceMax: 8, handshakeMs: 60_000 };
  await using served = await startPort(domain, { onLink: echo, log, limits });
  const before = await openLink(domain.dial(served.address, "travel/before"));
  using flood = new Flood();
  const hello = await clientHello();
  // More than there is room for; without a bound they would stay a minute.
  await flood.add(served.address, 450, hello);
  await expect.poll(() => flood.open).toBeLessThanOrEqual(limits.sessionsMax / 2 + limits.handshakesPerSourceMax);
  const more = flood.add(served.address, 60, hello);
  const links = await Promise.all(
    Array.from({ length: 10 }, (_, i) => openLink(domain.dial(served.address, `travel/a${i}`))),
  );
  await more;
  for (const link of [before, ...links]) expect(await echoed(link, "alive")).toBe("alive");
  await expect.poll(() => flood.open).toBeLessThanOrEqual(limits.sessionsMax / 2 + limits.handshakesPerSourceMax);
  expect(served.port.sessionCount).toBe(11);
  expect(log.of("h2.connection_dropped")).toEqual([]);
  expect(log.of("h2.handshake_cut")[0]?.fields).toEqual({
    source: "127.0.0.1",
    limit: "handshakesPerSourceMax",
    value: 8,
  });
  for (const link of [before, ...links]) link.close();
});

test("agents of one address that attach at once are no flood, however many stay", async () => {
  const log = new MemoryLog();
  await using served = await startPort(domain, {
    onLink: echo,
    log,
    limits: { sessionsMax: 60, handshakesPerSourceMax: 2 },
  });
  const open = (i: number) => openLink(domain.dial(served.address, `travel/a${i}`));
  const links = await Promise.all(Array.from({ length: 30 }, (_, i) => open(i)));
  // Attached ones do not count, also when they are more than half of all.
  for (let i = 30; i < 40; i++) links.push(await open(i));
  for (const link of links) expect(await echoed(link, "alive")).toBe("alive");
  expect(log.of("h2.handshake_cut")).toEqual([]);
  for (const link of links) link.close();
});
