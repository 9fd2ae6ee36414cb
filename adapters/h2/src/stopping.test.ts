import { type AddressInfo, connect as connectTcp, createServer } from "node:net";
import { aca } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { createTransport, fromConnectError } from "./index.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

/** A TCP server that accepts and says nothing: a dialling to it lasts until its time-out. */
async function silentServer(): Promise<{ readonly url: string } & AsyncDisposable> {
  const sockets = new Set<{ destroy(): unknown }>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("stop does not wait for a connection that never finishes its handshake", async () => {
  const served = await startPort(domain, { limits: { handshakeMs: 60_000 } });
  const socket = connectTcp(served.address.port, served.address.host);
  await new Promise((resolve) => socket.once("connect", resolve));
  const cut = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => undefined);
  // The port has to have seen the connection before it is told to stop.
  await new Promise((resolve) => setImmediate(resolve));
  await served.port.stop({ deadlineMs: 50 });
  await cut;
}, 3_000);

test("an aborted call does not wait for the connection that is being dialled for it", async () => {
  await using silent = await silentServer();
  const transport = createTransport({
    ...domain.dial({ host: "", port: 0, url: silent.url }),
    limits: { dialMs: 60_000 },
  });
  const abort = new AbortController();
  const call = createClient(aca.AuthorityService, transport)
    .getCrl({}, { signal: abort.signal })
    .catch((thrown: unknown) => fromConnectError(thrown));
  await new Promise((resolve) => setImmediate(resolve));
  abort.abort();
  expect(await call).toMatchObject({ code: "CAUSEWAY_CANCELLED" });
  transport.close();
}, 3_000);

test("connect of a transport ends when its signal does", async () => {
  await using silent = await silentServer();
  const transport = createTransport({
    ...domain.dial({ host: "", port: 0, url: silent.url }),
    limits: { dialMs: 60_000 },
  });
  const abort = new AbortController();
  const connecting = transport.connect(abort.signal).catch((thrown: unknown) => thrown);
  abort.abort();
  expect(await connecting).toMatchObject({ code: "CAUSEWAY_CANCELLED" });
  transport.close();
}, 3_000);

test("a transport that is closed while it dials keeps no connection", async () => {
  await using served = await startPort(domain, {
    services: (router) => router.service(aca.AuthorityService, { getCrl: () => ({ crls: [] }) }),
  });
  const transport = createTransport(domain.dial(served.address));
  const connecting = transport.connect().catch((thrown: unknown) => fromConnectError(thrown));
  transport.close();
  expect(await connecting).toMatchObject({ code: "CAUSEWAY_CANCELLED" });
  await createClient(aca.AuthorityService, transport).getCrl({});
  expect(served.port.sessionCount).toBe(1);
  transport.close();
}, 3_000);
