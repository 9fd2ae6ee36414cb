import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from "node:http2";
import { asUnixMs, refuse } from "@causeway/core-base";
import { admin } from "@causeway/core-wire";
import { expect, test, vi } from "vitest";
import type { PortAddress } from "./port.ts";
import { connectSession } from "./testing/raw-client.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

async function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body = "") {
  const stream = session.request(headers);
  // A GET has ended already.
  if (body === "") stream.end();
  else stream.end(body);
  const answered = new Promise<Record<string, unknown>>((resolve) => stream.once("response", resolve));
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  const { ":status": status, "content-type": type } = await answered;
  return { status, type, body: Buffer.concat(chunks).toString() };
}

test("a page is answered to a GET of its path by who asks, a refusal as its status, everything else as before", async () => {
  const pages = new Map([
    ["/metrics", ({ spiffeId }: { spiffeId: string }) => ({ contentType: "text/plain", body: `for ${spiffeId}` })],
    [
      "/secret",
      () => {
        throw refuse("CAUSEWAY_IDENTITY_ROLE_WRONG", "expected an operator");
      },
    ],
  ]);
  await using world = await startPort(domain, { pages });
  const session = await connectSession(domain, world.address);
  const get = (path: string) => ask(session, { ":method": "GET", ":path": path });
  expect(await get("/metrics?x=1")).toEqual({
    status: 200,
    type: "text/plain",
    body: "for spiffe://blue.example/travel/raw",
  });
  expect(await get("/secret")).toEqual({
    status: 403,
    type: "text/plain; charset=utf-8",
    body: "CAUSEWAY_IDENTITY_ROLE_WRONG: expected an operator\n",
  });
  expect((await get("/other")).status).toBe(404);
  expect((await ask(session, { ":method": "POST", ":path": "/metrics" })).status).toBe(405);
  session.close();
});

const hourMs = 3_600_000;
const page = new Map([["/metrics", () => ({ contentType: "text/plain", body: "all of it" })]]);

/** A connection of a monitor whose certificate has so much of its hour behind it. */
function monitorSession(address: PortAddress, agedMs: number): ClientHttp2Session {
  const notBefore = asUnixMs(Date.now() - agedMs);
  const notAfter = asUnixMs(notBefore + hourMs);
  const identity = domain.identities.identity("monitor/prometheus", { role: "monitor", notBefore, notAfter });
  const { key, chainPem } = identity.tls();
  return connect(address.url, { key, cert: chainPem, ca: domain.rootPem });
}

test("who reads a page again and again keeps its connection while its certificate is young, and has to connect anew with a renewed one before it expires", async () => {
  await using world = await startPort(domain, { pages: page });
  const young = monitorSession(world.address, hourMs / 2);
  for (const _ of [1, 2]) expect(await ask(young, { ":path": "/metrics" })).toMatchObject({ status: 200 });
  expect(young.closed).toBe(false);
  young.close();
  const old = monitorSession(world.address, hourMs * 0.8);
  const closed = new Promise<void>((resolve) => old.once("close", resolve));
  expect(await ask(old, { ":path": "/metrics" })).toMatchObject({ status: 200, body: "all of it" });
  await closed;
});

test("a certificate that expired since the connection was opened reads nothing", async () => {
  await using world = await startPort(domain, { pages: page });
  const session = monitorSession(world.address, hourMs / 2);
  expect(await ask(session, { ":path": "/metrics" })).toMatchObject({ status: 200 });
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + hourMs });
  const closed = new Promise<void>((resolve) => session.once("close", resolve));
  try {
    const { status, body } = await ask(session, { ":path": "/metrics" });
    expect([status, body]).toEqual([401, expect.stringContaining("CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED")]);
  } finally {
    vi.useRealTimers();
  }
  await closed;
});

test("a monitor reads pages, and may call nothing but what the port opens to it", async () => {
  await using world = await startPort(domain, {
    pages: page,
    monitorPaths: [`/${admin.MetricsService.typeName}/ReadMetrics`],
    services: (router) =>
      router
        .service(admin.MetricsService, { readMetrics: () => ({ text: "open" }) })
        .service(admin.LimitsService, { listLimits: () => ({}) }),
  });
  const session = monitorSession(world.address, 0);
  expect(await ask(session, { ":path": "/metrics" })).toMatchObject({ status: 200 });
  const call = (path: string) =>
    ask(session, { ":method": "POST", ":path": path, "content-type": "application/json" }, "{}");
  expect(await call(`/${admin.LimitsService.typeName}/ListLimits`)).toMatchObject({
    status: 403,
    body: expect.stringContaining("a monitor reads /metrics and nothing else"),
  });
  expect(await call(`/${admin.MetricsService.typeName}/ReadMetrics`)).toMatchObject({
    status: 200,
    body: '{"text":"open"}',
  });
  expect(await call("/grpc.health.v1.Health/Check")).toMatchObject({ status: 403 });
  session.close();
});
