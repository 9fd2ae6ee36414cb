import { randomBytes } from "node:crypto";
import { MemoryLog } from "@causeway/adapter-telemetry";
import { refuse } from "@causeway/core-base";
import { encodeGrpcMessage } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { encodeH2Frame, encodeSettings, FrameFlag, FrameType, H2Error, Setting } from "./h2-frames.ts";
import { type Link, openLink } from "./index.ts";
import { connectRaw, frameOn, promise, type RawH2, request } from "./testing/raw-h2.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

const echo = (link: Link): void =>
  link.onFrames((frames) => {
    for (const { buffer, start, end } of frames) link.send(buffer, start, end);
  });

const data = (payload: Uint8Array, flags = 0): Buffer => encodeH2Frame(FrameType.data, flags, payload);
const ping = encodeH2Frame(FrameType.ping, 0, Buffer.alloc(8, 7));
const isData = ({ type }: { readonly type: number }): boolean => type === FrameType.data;
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

test("a connection that promises one link is one, with gRPC's content type and status", async () => {
  await using served = await startPort(domain, { onLink: echo });
  const raw = await connectRaw(domain, served.address);
  raw.write(promise(), request, data(encodeGrpcMessage(Buffer.from("hello"))));
  expect((await raw.frame(isData))?.payload).toEqual(Buffer.from(encodeGrpcMessage(Buffer.from("hello"))));
  const headers = await raw.frame(({ type }) => type === FrameType.headers);
  expect(headers?.payload.toString("latin1")).toContain("application/grpc+proto");
  raw.write(data(new Uint8Array(0), FrameFlag.endStream));
  const trailers = await raw.frame(({ type, flags }) => type === FrameType.headers && (flags & 1) === 1);
  expect(trailers?.payload.toString("latin1")).toMatch(/grpc-status.0$/);
  raw.socket.destroy();
});

test("a preface in single bytes and padded frames make no difference", async () => {
  await using served = await startPort(domain, { onLink: echo });
  const raw = await connectRaw(domain, served.address);
  for (const byte of promise()) raw.write(Buffer.of(byte));
  const message = Buffer.from(encodeGrpcMessage(Buffer.from("padded")));
  const padded = Buffer.concat([Buffer.of(20), message, Buffer.alloc(20)]);
  raw.write(request, data(padded, FrameFlag.padded), ping);
  expect((await raw.frame(isData))?.payload).toEqual(message);
  expect((await raw.frame(({ type, flags }) => type === FrameType.ping && flags === 1))?.payload).toEqual(
    Buffer.alloc(8, 7),
  );
  raw.socket.destroy();
});

/** What breaks HTTP/2 or the promise, and the code that it ends with. */
const breaches: Readonly<Record<string, { readonly bytes: readonly Uint8Array[]; readonly code: number }>> = {
  "a second request": { bytes: [request, request], code: H2Error.protocol },
  "a request on another stream": {
    bytes: [frameOn(3, FrameType.headers, FrameFlag.endHeaders, Buffer.of(0x83))],
    code: H2Error.protocol,
  },
  "a header block in parts": {
    bytes: [encodeH2Frame(FrameType.headers, 0, Buffer.of(0x83))],
    code: H2Error.protocol,
  },
  CONTINUATION: { bytes: [request, frameOn(1, FrameType.continuation, 0, Buffer.alloc(10))], code: H2Error.protocol },
  PUSH_PROMISE: { bytes: [request, frameOn(1, FrameType.pushPromise, 4, Buffer.alloc(10))], code: H2Error.protocol },
  "DATA before the request": { bytes: [data(Buffer.alloc(5))], code: H2Error.protocol },
  "DATA on another stream": {
    bytes: [request, frameOn(3, FrameType.data, 0, Buffer.alloc(5))],
    code: H2Error.protocol,
  },
  "DATA after the end": {
    bytes: [request, data(Buffer.alloc(0), FrameFlag.endStream), data(Buffer.alloc(5))],
    code: H2Error.protocol,
  },
  "padding longer than its frame": {
    bytes: [request, data(Buffer.of(9, 1), FrameFlag.padded)],
    code: H2Error.protocol,
  },
  "a frame over 16 KiB": { bytes: [request, data(Buffer.alloc(16_385))], code: H2Error.frameSize },
  "a PING of seven bytes": { bytes: [encodeH2Frame(FrameType.ping, 0, Buffer.alloc(7))], code: H2Error.frameSize },
  "SETTINGS of five bytes": { bytes: [encodeH2Frame(FrameType.settings, 0, Buffer.alloc(5))], code: H2Error.frameSize },
  "SETTINGS of 33 entries": {
    bytes: [encodeH2Frame(FrameType.settings, 0, Buffer.alloc(198))],
    code: H2Error.frameSize,
  },
  "a window beyond 2^31": {
    bytes: [encodeSettings([[Setting.initialWindowSize, 0x80000000]])],
    code: H2Error.flowControl,
  },
  "a window that overflows": {
    bytes: [request, encodeH2Frame(FrameType.windowUpdate, 0, u32(0x7fffffff))],
    code: H2Error.flowControl,
  },
  "a WINDOW_UPDATE of nothing": {
    bytes: [encodeH2Frame(FrameType.windowUpdate, 0, u32(0))],
    code: H2Error.protocol,
  },
  "a reset before the request": { bytes: [encodeH2Frame(FrameType.rstStream, 0, u32(8))], code: H2Error.protocol },
};

test.each(Object.entries(breaches))("cuts off %s, and nobody else", async (_name, { bytes, code }) => {
  const log = new MemoryLog();
  await using served = await startPort(domain, { onLink: echo, log });
  const other = await openLink(domain.dial(served.address));
  const raw = await connectRaw(domain, served.address);
  raw.write(promise(), ...bytes);
  expect(await raw.goawayCode()).toBe(code);
  await raw.closed;
  expect(log.of("h2.session_failed")).toHaveLength(1);
  const answer = new Promise((resolve) => other.onFrames((frames) => resolve(frames.length)));
  other.send(Buffer.from("still here"));
  expect(await answer).toBe(1);
  other.close();
});

/** Frames that cost the sender little, and what a gateway does about many of them. */
const floods: Readonly<Record<string, Uint8Array>> = {
  PING: ping,
  SETTINGS: encodeSettings([[Setting.initialWindowSize, 100_000]]),
  "empty DATA": data(new Uint8Array(0)),
  WINDOW_UPDATE: encodeH2Frame(FrameType.windowUpdate, 0, u32(1)),
  PRIORITY: frameOn(1, FrameType.priority, 0, Buffer.alloc(5)),
  "frames of unknown types": frameOn(1, 0x77, 0, Buffer.alloc(3)),
};

test.each(Object.entries(floods))("cuts off a flood of %s", async (_name, frame) => {
  await using served = await startPort(domain, {
    onLink: echo,
    limits: { controlFrameBurst: 50, controlFramesPerSecond: 1 },
  });
  const raw = await connectRaw(domain, served.address);
  raw.write(promise(), request, ...Array.from({ length: 60 }, () => frame));
  expect(await raw.goawayCode()).toBe(H2Error.enhanceYourCalm);
  await raw.closed;
});

test("cuts off a client that reads none of the answers that it causes", async () => {
  await using served = await startPort(domain, {
    onLink: echo,
    limits: { controlFrameBurst: 1_000_000, controlFramesOpenMax: 100 },
  });
  const raw = await connectRaw(domain, served.address);
  raw.socket.pause();
  raw.write(promise(), request);
  const burst = Buffer.concat(Array.from({ length: 10_000 }, () => ping));
  const pour = () => {
    while (raw.socket.writable && raw.socket.write(burst));
  };
  raw.socket.on("drain", pour);
  pour();
  await raw.closed;
});

test("a client may not send more than its window, and gets more only when what it sent was taken", async () => {
  const accepted = Promise.withResolvers<Link>();
  await using served = await startPort(domain, {
    onLink: accepted.resolve,
    limits: { streamWindowBytes: 100_000 },
  });
  const raw = await connectRaw(domain, served.address);
  raw.write(promise(), request);
  const link = await accepted.promise;
  const chunk = encodeGrpcMessage(Buffer.alloc(9_995));
  for (let i = 0; i < 10; i++) raw.write(data(chunk));
  // What the window allows is taken in, and answered with no new window while nobody reads.
  raw.write(ping);
  await raw.frame(({ type, flags }) => type === FrameType.ping && flags === 1);
  const opened = (frame: { readonly type: number; readonly stream: number }): boolean =>
    frame.type === FrameType.windowUpdate && frame.stream === 1;
  expect(raw.frames.filter(opened)).toEqual([]);
  const got = new Promise<number>((resolve) => {
    let count = 0;
    link.onFrames((frames) => {
      count += frames.length;
      if (count === 10) resolve(count);
    });
  });
  expect(await got).toBe(10);
  expect((await raw.frame(opened))?.payload.readUInt32BE(0)).toBeGreaterThan(0);
  link.pause();
  for (let i = 0; i < 30; i++) raw.write(data(chunk));
  expect(await raw.goawayCode()).toBe(H2Error.flowControl);
  await raw.closed;
});

test("a slow client gets what its window allows, whole and in order, however it opens it", async () => {
  const frames = Array.from({ length: 40 }, (_, i) => randomBytes(i * 977));
  await using served = await startPort(domain, {
    onLink: (link) => {
      link.onFrames(() => undefined);
      for (const frame of frames) link.send(frame);
    },
  });
  const raw = await connectRaw(domain, served.address);
  raw.write(promise([Setting.initialWindowSize, 1_000]), request);
  const wanted = Buffer.concat(frames.map((frame) => encodeGrpcMessage(frame)));
  const received = (): Buffer => Buffer.concat(raw.frames.filter(isData).map(({ payload }) => payload));
  const window = (stream: 0 | 1, bytes: number): Buffer => frameOn(stream, FrameType.windowUpdate, 0, u32(bytes));
  raw.write(window(0, 10_000_000));
  let opened = 1_000;
  for (let step = 0; opened < wanted.length; step++) {
    const until = opened;
    await raw.frame(() => received().length >= until);
    expect(received().length).toBe(until);
    const more = Math.min(wanted.length - opened, 1 + ((step * 7_919) % 120_000));
    raw.write(window(1, more));
    opened += more;
  }
  await raw.frame(() => received().length === wanted.length);
  expect(received().equals(wanted)).toBe(true);
  raw.socket.destroy();
});

test("a window that a setting makes smaller counts what was sent already", async () => {
  await using served = await startPort(domain, { onLink: echo });
  const raw = await connectRaw(domain, served.address);
  const message = Buffer.from(encodeGrpcMessage(Buffer.alloc(995, 1)));
  const pong = (n: number) => raw.frame(({ type, payload }) => type === FrameType.ping && payload[7] === n);
  const mark = (n: number): Buffer => encodeH2Frame(FrameType.ping, 0, Buffer.from([0, 0, 0, 0, 0, 0, 0, n]));
  raw.write(promise([Setting.initialWindowSize, 1_000]), request, data(message), mark(1));
  await raw.frame(isData);
  await pong(1);
  // The window is -500 now: 500 more open nothing, one byte more does.
  raw.write(encodeSettings([[Setting.initialWindowSize, 500]]), data(message), mark(2));
  await pong(2);
  raw.write(frameOn(1, FrameType.windowUpdate, 0, u32(500)), mark(3));
  await pong(3);
  expect(raw.frames.filter(isData)).toHaveLength(1);
  raw.write(frameOn(1, FrameType.windowUpdate, 0, u32(1)));
  await raw.frame(() => raw.frames.filter(isData).length === 2);
  expect(raw.frames.filter(isData)[1]?.payload).toHaveLength(1);
  raw.socket.destroy();
});

test("random frames end their own connection at most", async () => {
  await using served = await startPort(domain, { onLink: echo });
  const other = await openLink(domain.dial(served.address));
  for (let round = 0; round < 40; round++) {
    const raw: RawH2 = await connectRaw(domain, served.address, `travel/raw${round % 8}`);
    raw.write(promise(), ...(round % 2 === 0 ? [request] : []));
    for (let i = 0; i < 20; i++) {
      const head = randomBytes(9);
      raw.write(
        i % 2 === 0
          ? frameOn((head[0] ?? 0) % 3, (head[1] ?? 0) % 11, head[2] ?? 0, randomBytes((head[3] ?? 0) * 4))
          : randomBytes(1 + ((head[0] ?? 0) % 64)),
      );
    }
    raw.socket.end();
    await raw.closed;
  }
  const answer = new Promise((resolve) => other.onFrames((frames) => resolve(frames.length)));
  other.send(Buffer.from("still here"));
  expect(await answer).toBe(1);
  other.close();
});

test("a client that does not finish its preface is cut off in time", async () => {
  await using served = await startPort(domain, { onLink: echo, limits: { handshakeMs: 300 } });
  const raw = await connectRaw(domain, served.address);
  raw.write(promise().subarray(0, 30));
  await raw.closed;
});

test("a client that is ended by an operator is told why, in the status and in a GOAWAY", async () => {
  const accepted = Promise.withResolvers<Link>();
  await using served = await startPort(domain, { onLink: accepted.resolve });
  const raw = await connectRaw(domain, served.address);
  raw.write(promise(), request);
  await accepted.promise;
  served.port.disconnect(() => true, refuse("CAUSEWAY_ATTACHMENT_DETACHED", "the operator said so"));
  const goaway = await raw.frame(({ type }) => type === FrameType.goaway);
  expect(goaway?.payload.subarray(8).toString()).toBe("CAUSEWAY_ATTACHMENT_DETACHED the operator said so");
  const trailers = await raw.frame(({ type, flags }) => type === FrameType.headers && (flags & 1) === 1);
  expect(trailers?.payload.toString("latin1")).toContain("the operator said so");
  await raw.closed;
});

test("a reset of the link ends it, with the code in the error", async () => {
  const accepted = Promise.withResolvers<Link>();
  await using served = await startPort(domain, { onLink: accepted.resolve });
  const raw = await connectRaw(domain, served.address);
  raw.write(promise(), request);
  const link = await accepted.promise;
  const closed = new Promise((resolve) => link.onClose(resolve));
  raw.write(encodeH2Frame(FrameType.rstStream, 0, u32(H2Error.cancel)));
  expect(await closed).toMatchObject({ code: "CAUSEWAY_UNREACHABLE" });
  raw.socket.destroy();
});
