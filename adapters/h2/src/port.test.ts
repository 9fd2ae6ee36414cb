import { createServer } from "node:net";
import { MemoryLog } from "@causeway/adapter-telemetry";
import { type CausewayError, refuse } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { createPort, createTransport, fromConnectError, type Link, openLink } from "./index.ts";
import { connectSession, openRawLink } from "./testing/raw-client.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

const echo = (link: Link): void =>
  link.onFrames((frames) => {
    for (const { buffer, start, end } of frames) link.send(buffer, start, end);
  });

const closed = (link: Link): Promise<CausewayError | undefined> => new Promise((resolve) => link.onClose(resolve));

test("names a port that is in use", async () => {
  await using served = await startPort(domain);
  const second = createPort({
    tls: () => domain.serverTls(),
    port: served.address.port,
    authenticate: domain.authenticate,
  });
  await expect(second.start()).rejects.toMatchObject({
    code: "CAUSEWAY_PORT_IN_USE",
    details: { port: String(served.address.port) },
  });
  await second.stop();
});

test("disconnect ends every connection of the peers it picks, with the reason, and no other", async () => {
  await using served = await startPort(domain, { onLink: echo });
  const [one, two, other] = await Promise.all([
    openLink(domain.dial(served.address, "travel/one")),
    openLink(domain.dial(served.address, "travel/one")),
    openLink(domain.dial(served.address, "travel/other")),
  ]);
  for (const link of [one, two, other]) link.onFrames(() => undefined);
  const reason = refuse("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED", "the certificate is revoked; enrol again");
  expect(served.port.disconnect((peer) => peer.spiffeId.endsWith("/one"), reason)).toBe(2);
  for (const link of [one, two])
    expect(await closed(link)).toMatchObject({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" });
  const answer = new Promise((resolve) => other.onFrames(resolve));
  other.send(Buffer.from("alive"));
  await answer;
  expect(served.port.disconnect((peer) => peer.spiffeId.endsWith("/nobody"))).toBe(0);
  other.close();
});

test("a peer that ignores the end of its connection is cut", async () => {
  const accepted = Promise.withResolvers<Link>();
  await using served = await startPort(domain, { onLink: accepted.resolve });
  // A link whose client never reads: statuses and GOAWAY do not get through.
  const deaf = await openLink({ ...domain.dial(served.address), limits: { streamWindowBytes: 65_535 } });
  const link = await accepted.promise;
  for (let i = 0; i < 100; i++) link.send(Buffer.alloc(100_000));
  expect(served.port.disconnect(() => true)).toBe(1);
  expect(await closed(link)).toMatchObject({ code: "CAUSEWAY_ATTACHMENT_DETACHED" });
  await closed(deaf);
  expect(served.port.sessionCount).toBe(0);
});

test("stop ends streaming handlers, waits for links that end, and closes the rest as draining", async () => {
  const handlerEnded = Promise.withResolvers<void>();
  const served = await startPort(domain, {
    onLink: echo,
    services: (router) =>
      router.service(aca.AuthorityService, {
        async *watchTrust(_request, context) {
          yield {};
          if (!context.signal.aborted)
            await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
          handlerEnded.resolve();
          throw context.signal.reason;
        },
      }),
  });
  const transport = createTransport(domain.dial(served.address));
  const watching = (async () => {
    for await (const _ of createClient(aca.AuthorityService, transport).watchTrust({}));
  })().catch((thrown: unknown) => fromConnectError(thrown));
  await transport.connect();
  const link = await openLink(domain.dial(served.address));
  link.onFrames(() => undefined);
  const stopping = served.port.stop({ deadlineMs: 50 });
  expect(await watching).toMatchObject({ code: "CAUSEWAY_GATEWAY_DRAINING" });
  await handlerEnded.promise;
  expect(await closed(link)).toMatchObject({ code: "CAUSEWAY_GATEWAY_DRAINING" });
  await stopping;
  expect(served.port.sessionCount).toBe(0);
  await expect(openLink(domain.dial(served.address))).rejects.toMatchObject({ code: "CAUSEWAY_UNREACHABLE" });
  await served.port.stop();
  transport.close();
});

test("stop ends within its deadline also when a client is going away at the same time", async () => {
  const served = await startPort(domain, { onLink: (link) => link.onFrames(() => undefined) });
  const session = await connectSession(domain, served.address);
  const { headers } = openRawLink(session);
  await headers;
  session.goaway();
  await new Promise<void>((resolve) => session.ping(() => resolve()));
  await served.port.stop({ deadlineMs: 50 });
  expect(served.port.sessionCount).toBe(0);
  session.destroy();
});

test("refuses connections over the limit of one peer", async () => {
  const log = new MemoryLog();
  await using served = await startPort(domain, { onLink: echo, log, limits: { sessionsPerPeerMax: 2 } });
  const open = (path: string) => openLink(domain.dial(served.address, path));
  const links = [await open("travel/one"), await open("travel/one")];
  await expect(open("travel/one")).rejects.toMatchObject({ code: "CAUSEWAY_LIMIT_COUNT" });
  links.push(await open("travel/two"));
  const [first] = links;
  first?.close();
  if (first !== undefined) await closed(first);
  expect(log.of("h2.session_refused")).toHaveLength(1);
  for (const link of links) link.close();
});

test("a renewed certificate serves new connections and leaves open ones alone", async () => {
  let tls = domain.serverTls("gateway/gw1");
  await using served = await startPort(domain, { tls: () => tls, onLink: echo });
  const before = await openLink(domain.dial(served.address));
  tls = domain.serverTls("gateway/gw2");
  served.port.renewTls();
  const after = await openLink(domain.dial(served.address));
  expect([before.peer.spiffeId, after.peer.spiffeId]).toEqual([
    "spiffe://blue.example/gateway/gw1",
    "spiffe://blue.example/gateway/gw2",
  ]);
  const answer = new Promise((resolve) => before.onFrames(resolve));
  before.send(Buffer.from("alive"));
  await answer;
  before.close();
  after.close();
});

test("dialling fails with what is wrong", async () => {
  await using served = await startPort(domain, { onLink: echo });
  const dial = domain.dial(served.address);
  await expect(openLink({ ...dial, url: "http://127.0.0.1:1" })).rejects.toMatchObject({
    code: "CAUSEWAY_CONFIG_INVALID",
  });
  await expect(openLink({ ...dial, url: "https://127.0.0.1:1" })).rejects.toMatchObject({
    code: "CAUSEWAY_UNREACHABLE",
    message: expect.stringContaining("nothing listens there"),
  });
  await expect(openLink({ ...dial, signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "CAUSEWAY_CANCELLED",
  });
  const reject = () => {
    throw refuse("CAUSEWAY_IDENTITY_ROLE_WRONG", "expected a gateway");
  };
  await expect(openLink({ ...dial, authenticate: reject })).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_ROLE_WRONG",
  });
  await using without = await startPort(domain);
  await expect(openLink(domain.dial(without.address))).rejects.toMatchObject({ code: "CAUSEWAY_UNSUPPORTED" });
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  const port = typeof address === "object" ? address?.port : 0;
  await expect(openLink({ ...dial, url: `https://127.0.0.1:${port}`, limits: { dialMs: 50 } })).rejects.toMatchObject({
    code: "CAUSEWAY_UNREACHABLE",
  });
  silent.close();
});

test("a transport dials anew after its connection is gone", async () => {
  const services = { getCrl: () => ({ crls: [] }) };
  const served = await startPort(domain, { services: (router) => router.service(aca.AuthorityService, services) });
  const transport = createTransport(domain.dial(served.address));
  const client = createClient(aca.AuthorityService, transport);
  await client.getCrl({});
  await served.port.stop({ deadlineMs: 0 });
  expect(fromConnectError(await client.getCrl({}).catch((e: unknown) => e))).toMatchObject({
    code: "CAUSEWAY_UNREACHABLE",
  });
  await using again = await startPort(domain, {
    port: served.address.port,
    services: (router) => router.service(aca.AuthorityService, services),
  });
  await client.getCrl({});
  expect(again.port.sessionCount).toBe(1);
  transport.close();
  await client.getCrl({});
  transport.close();
});
