import { randomBytes } from "node:crypto";
import { connect as connectTls } from "node:tls";
import { MemoryLog } from "@causeway/adapter-telemetry";
import { refuse } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { createTransport, fromConnectError, type Link, openLink } from "./index.ts";
import { connectSession, openRawLink } from "./testing/raw-client.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

const sink = (link: Link): void => link.onFrames(() => undefined);

const prefix = (flags: number, length: number): Buffer => {
  const bytes = Buffer.alloc(5);
  bytes[0] = flags;
  bytes.writeUInt32BE(length, 1);
  return bytes;
};

/** What a Link says to these bytes, with or without an end of the stream after them. */
async function answerTo(bytes: Uint8Array, options: { readonly end: boolean; readonly frameBytesMax?: number }) {
  const frames: number[] = [];
  const closed = Promise.withResolvers<string | undefined>();
  const log = new MemoryLog();
  await using served = await startPort(domain, {
    log,
    ...(options.frameBytesMax !== undefined && { limits: { frameBytesMax: options.frameBytesMax } }),
    onLink: (link) => {
      link.onFrames((got) => frames.push(...got.map((f) => f.end - f.start)));
      link.onClose((error) => closed.resolve(error?.code));
    },
  });
  const session = await connectSession(domain, served.address);
  const raw = openRawLink(session);
  if (options.end) raw.stream.end(bytes);
  else raw.stream.write(bytes);
  const end = await raw.ended;
  session.destroy();
  const code = await closed.promise;
  expect(log.of("h2.link_failed").map((line) => line.fields["code"])).toEqual(code === undefined ? [] : [code]);
  return { frames, code, status: end.status, message: end.message };
}

test("refuses a frame with the compressed flag", async () => {
  expect(
    await answerTo(Buffer.concat([prefix(0, 2), Buffer.from("ok"), prefix(1, 2), Buffer.from("no")]), { end: false }),
  ).toMatchObject({
    frames: [2],
    code: "CAUSEWAY_FRAME_MALFORMED",
    status: "3",
  });
});

test("refuses a prefix with unknown flags", async () => {
  expect(await answerTo(prefix(0x80, 0), { end: false })).toMatchObject({
    frames: [],
    code: "CAUSEWAY_FRAME_MALFORMED",
    status: "3",
  });
});

test("refuses an oversized frame when it is announced, before its bytes come", async () => {
  const answer = await answerTo(prefix(0, 1_001), { end: false, frameBytesMax: 1_000 });
  expect(answer).toMatchObject({ frames: [], code: "CAUSEWAY_FRAME_TOO_LARGE", status: "8" });
  expect(answer.message).toContain("at most 1000 bytes");
});

test("takes a frame of exactly the limit", async () => {
  expect(
    await answerTo(Buffer.concat([prefix(0, 1_000), Buffer.alloc(1_000)]), { end: true, frameBytesMax: 1_000 }),
  ).toEqual({
    frames: [1_000],
    code: undefined,
    status: "0",
    message: undefined,
  });
});

test("reports a stream that ends inside a frame or a prefix", async () => {
  expect(await answerTo(Buffer.concat([prefix(0, 10), Buffer.from("short")]), { end: true })).toMatchObject({
    code: "CAUSEWAY_FRAME_MALFORMED",
    status: "3",
  });
  expect(await answerTo(Buffer.from([0, 0]), { end: true })).toMatchObject({
    code: "CAUSEWAY_FRAME_MALFORMED",
    status: "3",
  });
});

test("survives random bytes on a link", async () => {
  await using served = await startPort(domain, { onLink: sink });
  const session = await connectSession(domain, served.address);
  for (let i = 0; i < 50; i++) {
    const raw = openRawLink(session);
    raw.stream.end(randomBytes(1 + i * 7));
    expect(["0", "3", "8"]).toContain((await raw.ended).status);
  }
  session.destroy();
  const link = await openLink(domain.dial(served.address));
  link.close();
});

test("survives random bytes and a truncated preface under TLS", async () => {
  await using served = await startPort(domain, { onLink: sink });
  for (const bytes of [randomBytes(500), Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n"), Buffer.alloc(0)]) {
    await new Promise<void>((resolve) => {
      const socket = connectTls({
        ...domain.clientTls("travel/noise"),
        host: served.address.host,
        port: served.address.port,
        ALPNProtocols: ["h2"],
      });
      socket.on("secureConnect", () => socket.end(bytes));
      socket.on("data", () => undefined);
      socket.on("error", () => undefined);
      socket.on("close", () => resolve());
    });
  }
  const link = await openLink(domain.dial(served.address));
  link.close();
});

test("refuses what is not a gRPC request for a link", async () => {
  await using served = await startPort(domain, { onLink: sink });
  const session = await connectSession(domain, served.address);
  const answer = async (headers: Record<string, string>) => (await openRawLink(session, headers).ended) as object;
  expect(await answer({ "content-type": "application/json" })).toMatchObject({ httpStatus: 415 });
  expect(await answer({ ":method": "GET" })).toMatchObject({ httpStatus: 405 });
  expect(await answer({ "grpc-encoding": "gzip" })).toMatchObject({
    httpStatus: 200,
    status: "12",
    contentType: "application/grpc+proto",
  });
  expect(await answer({ "grpc-timeout": "soon" })).toMatchObject({ status: "3" });
  expect(await answer({ ":path": "/causeway.agp.v1.AgentGatewayService/Unknown" })).toMatchObject({ status: "12" });
  expect(await answer({ ":path": "/nowhere", "content-type": "text/plain" })).toMatchObject({ httpStatus: 404 });
  session.destroy();
});

test("ends a link at the deadline that its client set", async () => {
  await using served = await startPort(domain, { onLink: sink });
  const session = await connectSession(domain, served.address);
  expect(await openRawLink(session, { "grpc-timeout": "20m" }).ended).toMatchObject({ status: "4" });
  session.destroy();
});

test("refuses a header list over the limit", async () => {
  await using served = await startPort(domain, { onLink: sink });
  const session = await connectSession(domain, served.address);
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`x-field-${i}`, "v"]));
  expect((await openRawLink(session, many).ended).status).toBeUndefined();
  const link = await openLink(domain.dial(served.address));
  link.close();
  session.destroy();
});

test("a peer that resets streams in a flood loses its connection, others keep theirs", async () => {
  await using served = await startPort(domain, {
    onLink: sink,
    limits: { streamResetBurst: 20, streamResetsPerSecond: 1 },
  });
  const steady = await openLink(domain.dial(served.address));
  const session = await connectSession(domain, served.address, "travel/flood");
  const gone = new Promise<void>((resolve) => session.on("close", () => resolve()));
  for (let i = 0; i < 200 && !session.closed; i++) openRawLink(session).stream.close(8);
  await gone;
  const other = await openLink(domain.dial(served.address));
  expect(steady.send(Buffer.from("still here"))).toBe(true);
  other.close();
  steady.close();
});

test("tells a refused client why, with its code, and logs it", async () => {
  const log = new MemoryLog();
  await using served = await startPort(domain, {
    log,
    onLink: sink,
    authenticate: (socket) => {
      const peer = domain.authenticate(socket);
      throw refuse(
        "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
        `the certificate of ${peer.spiffeId} is revoked; enrol again`,
      );
    },
  });
  await expect(openLink(domain.dial(served.address))).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
    message: "the certificate of spiffe://blue.example/travel/booker is revoked; enrol again",
  });
  const transport = createTransport(domain.dial(served.address));
  const thrown = await createClient(aca.AuthorityService, transport)
    .getCrl({})
    .catch((error: unknown) => error);
  expect(fromConnectError(thrown)).toMatchObject({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" });
  expect(log.of("h2.session_refused").map((line) => line.fields["code"])).toEqual([
    "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
    "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
  ]);
  expect(served.port.sessionCount).toBe(0);
  transport.close();
});

test("a client without certificate, or with one of another domain, is refused with the reason", async () => {
  const log = new MemoryLog();
  await using served = await startPort(domain, { log, onLink: sink });
  const foreign = new TestDomain("red.example");
  await expect(openLink(domain.dial(served.address, "travel/spy", foreign))).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED",
  });
  const { url, authenticate } = domain.dial(served.address);
  await expect(openLink({ url, authenticate, tls: () => ({ ca: domain.rootPem }) })).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING",
  });
  expect(log.of("h2.session_refused").map((line) => line.fields["code"])).toEqual([
    "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED",
    "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING",
  ]);
  expect(served.port.sessionCount).toBe(0);
});

test("a body that does not decode gets a code and a log line, in gRPC as in JSON", async () => {
  const log = new MemoryLog();
  await using served = await startPort(domain, {
    log,
    services: (router) => router.service(aca.AuthorityService, { getCrl: () => ({ crls: [] }) }),
  });
  const session = await connectSession(domain, served.address);
  const path = "/causeway.aca.v1.AuthorityService/GetCrl";
  const grpc = openRawLink(session, { ":path": path });
  grpc.stream.end(Buffer.concat([prefix(0, 2), Buffer.from([0xff, 0xff])]));
  expect(await grpc.ended).toMatchObject({ status: "3", message: expect.stringContaining("do not decode") });
  const json = openRawLink(session, { ":path": path, "content-type": "application/json" });
  const answer = Promise.withResolvers<string>();
  json.stream.once("data", (bytes: Buffer) => answer.resolve(bytes.toString("utf8")));
  json.stream.end("{ no json");
  const { code, details } = JSON.parse(await answer.promise) as { code: string; details: object[] };
  expect({ code, details }).toMatchObject({
    code: "invalid_argument",
    details: [{ type: "causeway.common.v1.ErrorDetail", debug: { code: "CAUSEWAY_FRAME_MALFORMED" } }],
  });
  expect(await json.ended).toMatchObject({ httpStatus: 400 });
  expect(log.of("h2.call_refused").map((line) => line.fields)).toMatchObject(
    Array.from({ length: 2 }, () => ({
      procedure: "causeway.aca.v1.AuthorityService/GetCrl",
      peer: "spiffe://blue.example/travel/raw",
      code: "CAUSEWAY_FRAME_MALFORMED",
    })),
  );
  session.destroy();
});

test("what a handler refuses is logged with the caller; a search that found nothing is not", async () => {
  const log = new MemoryLog();
  const codes = ["CAUSEWAY_RECORD_NOT_OWNER", "CAUSEWAY_STORE_FULL", "CAUSEWAY_RECORD_NOT_FOUND"] as const;
  let call = 0;
  await using served = await startPort(domain, {
    log,
    services: (router) =>
      router.service(aca.AuthorityService, {
        getCrl: () => {
          throw refuse(codes[call++] ?? "CAUSEWAY_INTERNAL", "no");
        },
      }),
  });
  const transport = createTransport(domain.dial(served.address));
  const client = createClient(aca.AuthorityService, transport);
  for (const code of codes) {
    const thrown = await client.getCrl({}).catch((error: unknown) => error);
    expect(fromConnectError(thrown).code).toBe(code);
  }
  transport.close();
  const noticed = log.lines.filter((line) => line.level !== "debug");
  expect(noticed.map(({ event, level, fields }) => [event, level, fields["code"], fields["peer"]])).toEqual([
    ["h2.call_refused", "warn", codes[0], "spiffe://blue.example/travel/booker"],
    ["h2.call_failed", "error", codes[1], "spiffe://blue.example/travel/booker"],
  ]);
});

test("applicants reach only the paths that are open to them", async () => {
  const applicant = () => ({ applicant: true as const, spki: new Uint8Array(3) });
  const services = { pollEnrolment: () => ({ state: "requested" }), getCrl: () => ({ crls: [] }) };
  await using served = await startPort(domain, {
    authenticate: applicant,
    applicantPaths: ["/causeway.aca.v1.AuthorityService/PollEnrolment"],
    services: (router) => router.service(aca.AuthorityService, services),
    onLink: sink,
  });
  const transport = createTransport(domain.dial(served.address));
  const client = createClient(aca.AuthorityService, transport);
  expect((await client.pollEnrolment({})).state).toBe("requested");
  expect(fromConnectError(await client.getCrl({}).catch((e: unknown) => e))).toMatchObject({
    code: "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
  });
  await expect(openLink(domain.dial(served.address))).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
  });
  transport.close();
  await using without = await startPort(domain, { authenticate: applicant, onLink: sink });
  await expect(openLink(domain.dial(without.address))).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
  });
});
