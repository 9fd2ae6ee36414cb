import { randomBytes } from "node:crypto";
import { connect as connectTls } from "node:tls";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { CausewayError, refuse } from "@causeway/core-base";
import { aca, agp, common, health } from "@causeway/core-wire";
import { Code, ConnectError, type ConnectRouter, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { createTransport, fromConnectError, type Link, type PortAddress, peerOf } from "./index.ts";
import { connectSession, openRawLink } from "./testing/raw-client.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

/** Answers every frame with itself, and a Drain with an error. */
function echo(link: Link): void {
  link.onFrames((frames) => {
    for (const { buffer, start, end } of frames) {
      const frame = fromBinary(agp.FrameSchema, buffer.subarray(start, end));
      if (frame.body.case === "drain")
        link.close(
          refuse("CAUSEWAY_ATTACHMENT_REQUIRED", "expected an attach frame first", { details: { frame: "drain" } }),
        );
      else link.send(buffer, start, end);
    }
  });
}

/** Methods of the authority that answer, fail and stream. */
function authority(router: ConnectRouter): void {
  router.service(aca.AuthorityService, {
    pollEnrolment(request, context) {
      if (request.applicationId === "")
        throw refuse("CAUSEWAY_NAME_INVALID", "expected an application id, got none", {
          details: { field: "application_id" },
          retryAfterMs: 5,
        });
      if (request.applicationId === "defect") throw new TypeError("a secret of the process");
      return { state: "requested", reason: `${request.applicationId} by ${peerOf(context).spiffeId}` };
    },
    async *watchTrust(_request, context) {
      for (let sequence = 1n; sequence <= 3n; sequence++) yield { state: { sequence } };
      await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      throw context.signal.reason;
    },
  });
}

const world = () => startPort(domain, { onLink: echo, services: authority });

const messageFrame = (payload: Uint8Array): agp.Frame =>
  create(agp.FrameSchema, {
    body: { case: "message", value: { header: { target: "spiffe://blue.example/a/b" }, payload } },
  });

const drainFrame = create(agp.FrameSchema, { body: { case: "drain", value: {} } });

const payloads = [0, 1, 1_000, 16_384, 65_536, 300_000].map((size) => randomBytes(size));

function stockTransport(address: PortAddress) {
  return createGrpcTransport({ baseUrl: address.url, nodeOptions: domain.clientTls("travel/stock") });
}

function grpcJs(address: PortAddress) {
  const { key, cert } = domain.identity("travel/grpcjs");
  const credentials = grpc.credentials.createSsl(Buffer.from(domain.rootPem), Buffer.from(key), Buffer.from(cert));
  const identity = (bytes: Buffer): Buffer => bytes;
  const method = (path: string, isStream: boolean) => ({
    path,
    requestStream: isStream,
    responseStream: isStream,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  });
  const Client = grpc.makeGenericClientConstructor(
    {
      link: method("/causeway.agp.v1.AgentGatewayService/Link", true),
      poll: method("/causeway.aca.v1.AuthorityService/PollEnrolment", false),
      health: method("/grpc.health.v1.Health/Check", false),
      unknown: method("/causeway.aca.v1.AuthorityService/NoSuchMethod", false),
    },
    "stock",
  );
  const client = new Client(`${address.host}:${address.port}`, credentials);
  const unary = (name: "poll" | "health" | "unknown", request: Uint8Array): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const call = client[name]?.bind(client) as (
        bytes: Buffer,
        done: (error: Error | null, bytes?: Buffer) => void,
      ) => void;
      call(Buffer.from(request), (error, bytes) =>
        error === null && bytes !== undefined ? resolve(bytes) : reject(error),
      );
    });
  const link = (): grpc.ClientDuplexStream<Buffer, Buffer> => client["link"]?.call(client) as never;
  return { client, unary, link };
}

test("the Connect gRPC client speaks Link: order, content, half-close, status [AGP-5, AGP-16]", async () => {
  await using served = await world();
  const client = createClient(agp.AgentGatewayService, stockTransport(served.address));
  const got: Uint8Array[] = [];
  async function* requests() {
    for (const payload of payloads) yield messageFrame(payload);
  }
  for await (const frame of client.link(requests()))
    if (frame.body.case === "message") got.push(frame.body.value.payload);
  expect(got.map((bytes) => bytes.length)).toEqual(payloads.map((bytes) => bytes.length));
  for (const [i, bytes] of got.entries()) expect(Buffer.from(bytes).equals(payloads[i] ?? Buffer.alloc(0))).toBe(true);
});

test("the Connect gRPC client gets the error of a link with its detail [AGP-5]", async () => {
  await using served = await world();
  const client = createClient(agp.AgentGatewayService, stockTransport(served.address));
  const never = Promise.withResolvers<void>();
  async function* requests() {
    yield drainFrame;
    await never.promise;
  }
  const thrown = await (async () => {
    for await (const _ of client.link(requests()));
  })().catch((error: unknown) => error);
  never.resolve();
  if (!(thrown instanceof ConnectError)) throw thrown;
  expect(thrown.code).toBe(Code.FailedPrecondition);
  expect(thrown.rawMessage).toBe("expected an attach frame first");
  expect(thrown.findDetails(common.ErrorDetailSchema)[0]).toMatchObject({
    code: "CAUSEWAY_ATTACHMENT_REQUIRED",
    details: { frame: "drain" },
  });
});

test("grpc-js speaks Link, and unary and health calls, on one port [AGP-5, AGP-16, AGP-17]", async () => {
  await using served = await world();
  const { client, unary, link } = grpcJs(served.address);
  const call = link();
  const got: number[] = [];
  const status = Promise.withResolvers<grpc.StatusObject>();
  call.on("data", (bytes: Buffer) => {
    const frame = fromBinary(agp.FrameSchema, bytes);
    if (frame.body.case === "message") got.push(frame.body.value.payload.length);
  });
  call.on("error", () => undefined);
  call.on("status", status.resolve);
  for (const payload of payloads) call.write(Buffer.from(toBinary(agp.FrameSchema, messageFrame(payload))));
  call.end();
  expect((await status.promise).code).toBe(grpc.status.OK);
  expect(got).toEqual(payloads.map((bytes) => bytes.length));

  const answer = await unary(
    "poll",
    toBinary(aca.PollEnrolmentRequestSchema, create(aca.PollEnrolmentRequestSchema, { applicationId: "seven" })),
  );
  expect(fromBinary(aca.PollEnrolmentResponseSchema, answer).reason).toBe(
    "seven by spiffe://blue.example/travel/grpcjs",
  );
  const state = await unary(
    "health",
    toBinary(
      health.HealthCheckRequestSchema,
      create(health.HealthCheckRequestSchema, { service: "causeway.agp.v1.AgentGatewayService" }),
    ),
  );
  expect(fromBinary(health.HealthCheckResponseSchema, state).status).toBe(
    health.HealthCheckResponse_ServingStatus.SERVING,
  );
  await expect(unary("poll", Buffer.alloc(0))).rejects.toMatchObject({
    code: grpc.status.INVALID_ARGUMENT,
    details: "expected an application id, got none",
  });
  await expect(unary("unknown", Buffer.alloc(0))).rejects.toMatchObject({ code: grpc.status.UNIMPLEMENTED });
  expect(served.port.sessionCount).toBe(1);
  client.close();
});

test("grpc-js gets the status of a link that the gateway closes [AGP-5]", async () => {
  await using served = await world();
  const { client, link } = grpcJs(served.address);
  const call = link();
  const status = Promise.withResolvers<grpc.StatusObject>();
  call.on("data", () => undefined);
  call.on("error", () => undefined);
  call.on("status", status.resolve);
  call.write(Buffer.from(toBinary(agp.FrameSchema, drainFrame)));
  expect(await status.promise).toMatchObject({
    code: grpc.status.FAILED_PRECONDITION,
    details: "expected an attach frame first",
  });
  client.close();
});

test("one connection carries 100 unary calls and a link at once [AGP-7]", async () => {
  await using served = await world();
  const { client, unary, link } = grpcJs(served.address);
  const call = link();
  const echoed = new Promise<void>((resolve) => call.on("data", () => resolve()));
  call.on("error", () => undefined);
  call.write(Buffer.from(toBinary(agp.FrameSchema, messageFrame(Buffer.from("x")))));
  const asks = Array.from({ length: 100 }, (_, i) =>
    unary(
      "poll",
      toBinary(aca.PollEnrolmentRequestSchema, create(aca.PollEnrolmentRequestSchema, { applicationId: String(i) })),
    ),
  );
  const answers = await Promise.all(asks);
  expect(answers.map((bytes) => fromBinary(aca.PollEnrolmentResponseSchema, bytes).reason.split(" ")[0])).toEqual(
    asks.map((_, i) => String(i)),
  );
  await echoed;
  expect(served.port.sessionCount).toBe(1);
  call.end();
  client.close();
});

test("our transport carries CausewayErrors, detail included, and hides defects", async () => {
  const lines: unknown[][] = [];
  const line = (...parts: unknown[]) => void lines.push(parts);
  await using served = await startPort(domain, {
    services: authority,
    log: { debug: () => {}, info: line, warn: line, error: line },
  });
  const transport = createTransport(domain.dial(served.address));
  const client = createClient(aca.AuthorityService, transport);
  expect((await client.pollEnrolment({ applicationId: "one" })).reason).toBe(
    "one by spiffe://blue.example/travel/booker",
  );
  const failed = (call: Promise<unknown>): Promise<CausewayError> =>
    call.then(() => Promise.reject(new Error("no error")), CausewayError.from);
  expect(await failed(client.pollEnrolment({}))).toMatchObject({
    code: "CAUSEWAY_NAME_INVALID",
    retryAfterMs: 5,
    details: { field: "application_id" },
  });
  const defect = await failed(client.pollEnrolment({ applicationId: "defect" }));
  expect(defect.code).toBe("CAUSEWAY_INTERNAL");
  expect(defect.message).not.toContain("secret");
  expect(lines.map(([event]) => event)).toContain("h2.handler_failed");
  expect(await failed(client.renew({}))).toMatchObject({ code: "CAUSEWAY_UNSUPPORTED" });

  const sequences: bigint[] = [];
  const abort = new AbortController();
  const watched = (async () => {
    for await (const { state } of client.watchTrust({}, { signal: abort.signal })) {
      sequences.push(state?.sequence ?? 0n);
      if (sequences.length === 3) abort.abort();
    }
  })();
  expect(fromConnectError(await watched.catch((error: unknown) => error))).toMatchObject({
    code: "CAUSEWAY_CANCELLED",
  });
  expect(sequences).toEqual([1n, 2n, 3n]);
  transport.close();
});

test("the same service answers JSON over HTTP", async () => {
  await using served = await world();
  const session = await connectSession(domain, served.address, "travel/json");
  const post = (body: string): Promise<{ status: unknown; type: unknown; body: unknown }> =>
    new Promise((resolve, reject) => {
      const stream = session.request({
        ":method": "POST",
        ":path": "/causeway.aca.v1.AuthorityService/PollEnrolment",
        "content-type": "application/json",
      });
      let head: Record<string, unknown> = {};
      let text = "";
      stream.on("response", (headers) => {
        head = headers;
      });
      stream.on("data", (chunk) => {
        text += chunk;
      });
      stream.on("end", () => resolve({ status: head[":status"], type: head["content-type"], body: JSON.parse(text) }));
      stream.on("error", reject);
      stream.end(body);
    });
  expect(await post('{"applicationId":"json"}')).toEqual({
    status: 200,
    type: "application/json",
    body: { state: "requested", reason: "json by spiffe://blue.example/travel/json" },
  });
  const refused = await post("{}");
  expect(refused.status).toBe(400);
  expect(refused.body).toMatchObject({
    code: "invalid_argument",
    details: [{ type: "causeway.common.v1.ErrorDetail", debug: { code: "CAUSEWAY_NAME_INVALID" } }],
  });
  expect((await post("{")).status).toBe(400);
  session.destroy();
});

test("response headers and trailers are those of gRPC [AGP-16]", async () => {
  await using served = await world();
  const session = await connectSession(domain, served.address);
  const raw = openRawLink(session);
  expect(await raw.headers).toMatchObject({
    ":status": 200,
    "content-type": "application/grpc+proto",
    "grpc-accept-encoding": "identity",
  });
  raw.stream.end();
  expect(await raw.ended).toMatchObject({ status: "0", rstCode: 0 });
  session.destroy();
});

test("negotiates h2 over TLS 1.3 and nothing lower; refuses HTTP/1.1 [AGP-17]", async () => {
  const events: string[] = [];
  await using served = await startPort(domain, {
    onLink: echo,
    log: { debug: () => {}, info: () => {}, warn: (event) => events.push(event), error: () => {} },
  });
  const attempt = (options: object): Promise<string> =>
    new Promise((resolve) => {
      const socket = connectTls({
        ...domain.clientTls("travel/old"),
        host: served.address.host,
        port: served.address.port,
        ...options,
      });
      let text = "";
      socket.on("secureConnect", () => {
        text = `${socket.getProtocol()} ${socket.alpnProtocol}`;
        socket.write("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
      });
      socket.on("data", (chunk) => {
        text += ` ${chunk}`;
      });
      socket.on("error", (error: NodeJS.ErrnoException) => {
        if (text === "" || error.code !== "ECONNRESET") text = error.code ?? "";
      });
      socket.on("close", () => resolve(text));
    });
  expect(await attempt({ ALPNProtocols: ["http/1.1"] })).toBe("ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
  // Without ALPN the handshake succeeds, and the connection is cut without an answer.
  expect(await attempt({})).toBe("TLSv1.3 false");
  expect(await attempt({ ALPNProtocols: ["h2"], maxVersion: "TLSv1.2" })).toMatch(/PROTOCOL_VERSION/);
  expect(events).toContain("h2.session_refused");
  expect(events).toContain("h2.handshake_failed");
});
