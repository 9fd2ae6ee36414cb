import { once } from "node:events";
import { connect, createServer, type TLSSocket } from "node:tls";
import { silentLog } from "@causeway/core-base";
import { expect, test } from "vitest";
import { createTransport } from "./index.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

/** An empty SETTINGS frame. */
const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

test("a port drops a client that answers no PING", async () => {
  await using served = await startPort(domain, { limits: { pingEveryMs: 20 } });
  const socket = connect({
    ...domain.clientTls("travel/mute"),
    host: served.address.host,
    port: served.address.port,
    ALPNProtocols: ["h2"],
  });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  socket.write(Buffer.concat([preface, settings]));
  socket.resume();
  await once(socket, "close");
  expect(served.port.sessionCount).toBe(0);
});

test("a port closes a connection without streams after its idle time", async () => {
  const closed = Promise.withResolvers<void>();
  const log = { ...silentLog, debug: (event: string) => event === "h2.session_closed" && closed.resolve() };
  await using served = await startPort(domain, { log, limits: { pingEveryMs: 10, idleMs: 30 } });
  const transport = createTransport(domain.dial(served.address));
  await transport.connect();
  await closed.promise;
  expect(served.port.sessionCount).toBe(0);
  transport.close();
});

test("a client drops a server that answers no PING", async () => {
  const accepted = Promise.withResolvers<TLSSocket>();
  const server = createServer(
    { ...domain.serverTls(), minVersion: "TLSv1.3", ALPNProtocols: ["h2"] },
    accepted.resolve,
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  const port = bound !== null && typeof bound === "object" ? bound.port : 0;
  const address = { host: "127.0.0.1", port, url: `https://127.0.0.1:${port}` };
  const transport = createTransport({ ...domain.dial(address), limits: { pingEveryMs: 20, pingTimeoutMs: 20 } });
  const peer = await transport.connect();
  expect(peer.spiffeId).toBe("spiffe://blue.example/gateway/gw1");
  const socket = await accepted.promise;
  socket.on("error", () => undefined);
  socket.resume();
  socket.write(settings);
  await once(socket, "close");
  transport.close();
  server.close();
});
