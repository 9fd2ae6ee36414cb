/**
 * The entry of an IO worker: a thread that listens on the port together with others and does TCP and TLS of the
 * connections that the kernel gives it. It decides nothing: what it decrypts goes to the main thread as it comes, which
 * judges certificates and speaks HTTP/2, and what comes back is encrypted and written.
 */
import { createServer as createTcpServer, type Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { Handshakes } from "../handshakes.ts";
import { Carried } from "./carried.ts";
import { type FromWorker, recordBytesMax, type ToWorker, turnBytesMax, type WorkerStart, wakeUp } from "./protocol.ts";
import { encodeFacts, type Failure, RecordKind } from "./records.ts";
import { RingReader } from "./ring.ts";
import { RingOutput } from "./ring-output.ts";

const start = workerData as WorkerStart;
const port = parentPort;
if (port === null) throw new Error("expected to be started as a worker thread of a port");

const cells = new Int32Array(start.shared);
const renewals = cells.length - 1;
let renewal = start.renewal;
const connections = new Map<number, Carried>();
/** TCP connections that are counted. */
const admitted = new Set<Socket>();
/** Connections that are not read because the ring is full. */
const blocked = new Set<Carried>();
/** Connections with bytes that were written since the last turn, or with writes of this turn to let go. */
const touched = new Set<Carried>();
/** Numbers of connections are those of a signed word of a ring. */
const idMax = 0x7fffffff;
let nextId = 1;
let isFlushing = false;
let isExiting = false;

const input = new RingReader(start.down);
const output = new RingOutput(start.up, recordBytesMax, {
  wake: () => port.postMessage(wakeUp),
  onRoom() {
    for (const carried of blocked) carried.unblock();
    blocked.clear();
  },
});

const handshakes = new Handshakes<Socket>({
  perSourceMax: start.handshakesPerSourceMax,
  sessionsMax: start.sessionsMax,
  cut(socket, source) {
    // Its place is free now, not when the socket says so.
    leave(socket);
    socket.destroy();
    if (output.isFull) return;
    output.send(RecordKind.handshakeCut, 0, Buffer.from(source));
    flushLater();
  },
});

const server = createServer({ ...start.tls }, (socket) => {
  handshakes.finished(socket);
  onConnection(socket);
});
server.on("tlsClientError", (error, socket) => {
  // While the main thread does not keep up, what strangers cause is not told.
  if (output.isFull) return;
  const failure: Failure = {
    message: error.message,
    code: "code" in error ? String(error.code) : undefined,
    remoteAddress: socket.remoteAddress,
  };
  output.send(RecordKind.failed, 0, encodeFacts(failure));
  flushLater();
});

const listener = createTcpServer({ noDelay: true }, (socket) => {
  if (!admit(socket)) return;
  takeRenewal();
  server.emit("connection", socket);
});
listener.on("error", (error) => {
  const code = "code" in error ? String(error.code) : undefined;
  port.postMessage({ kind: "failed", message: error.message, code } satisfies FromWorker);
});
listener.listen({ host: start.host, port: start.port, reusePort: true }, () => {
  const bound = listener.address();
  const number = bound !== null && typeof bound === "object" ? bound.port : start.port;
  port.postMessage({ kind: "listening", port: number } satisfies FromWorker);
  if (!input.sleep()) setImmediate(pump);
});
port.on("message", onMessage);

function onMessage(message: ToWorker | typeof wakeUp): void {
  if (message === wakeUp) pump();
  else if (message.kind === "close") listener.close();
  else if (message.kind === "exit") exit();
  else {
    server.setSecureContext(message.tls);
    renewal = message.number;
  }
}

/** Counts a TCP connection, or drops it when all workers together have too many. */
function admit(socket: Socket): boolean {
  let count = 0;
  for (let i = 0; i < renewals; i++) count += Atomics.load(cells, i);
  if (count >= start.sessionsMax) {
    socket.destroy();
    if (!output.isFull) output.tell(RecordKind.dropped, 0);
    flushLater();
    return false;
  }
  Atomics.add(cells, start.index, 1);
  admitted.add(socket);
  socket.once("close", () => leave(socket));
  handshakes.begin(socket, count + 1);
  return true;
}

function leave(socket: Socket): void {
  if (!admitted.delete(socket)) return;
  Atomics.sub(cells, start.index, 1);
  handshakes.closed(socket);
}

/** A connection that begins after a renewal gets the renewed certificate, also when its message is still on the way. */
function takeRenewal(): void {
  if (port === null) return;
  while (Atomics.load(cells, renewals) !== renewal) {
    const got = receiveMessageOnPort(port) as { message: ToWorker | typeof wakeUp } | undefined;
    if (got === undefined) return;
    onMessage(got.message);
  }
}

function onConnection(socket: TLSSocket): void {
  const id = nextId;
  nextId = (nextId % idMax) + 1;
  const carried = new Carried(socket, id, output, {
    touch(which) {
      touched.add(which);
      flushLater();
    },
    onBlocked: (which) => void blocked.add(which),
    onGone(which) {
      connections.delete(id);
      blocked.delete(which);
      touched.delete(which);
      if (isExiting && connections.size === 0) process.exit(0);
    },
  });
  connections.set(id, carried);
  try {
    carried.open();
  } catch {
    // A connection that is gone already has nothing to tell of itself.
    socket.destroy();
  }
}

function obey(kind: number, id: number, _value: number, memory: Buffer, from: number, to: number): void {
  const carried = connections.get(id);
  if (carried === undefined) return;
  if (kind === RecordKind.bytes) carried.write(memory, from, to);
  else carried.obey(kind);
}

/** Does all that the main thread has said, and goes when every connection has taken it. The main thread does not wait for ever. */
function exit(): void {
  if (isExiting) return;
  isExiting = true;
  while (!input.read(obey, turnBytesMax));
  for (const carried of [...connections.values()]) carried.finish();
  if (connections.size === 0) process.exit(0);
}

/** Does what the main thread has said. */
function pump(): void {
  const isEmpty = input.read(obey, turnBytesMax);
  // TLS takes in what it is given while it is given, so that the ring is free after it.
  for (const carried of touched) carried.letGo();
  if (input.free()) port?.postMessage(wakeUp);
  if (output.isFull) output.flush();
  if (!isEmpty || !input.sleep()) setImmediate(pump);
}

function flushLater(): void {
  if (isFlushing) return;
  isFlushing = true;
  setImmediate(() => {
    isFlushing = false;
    for (const carried of touched) carried.tellWritten();
    touched.clear();
    output.flush();
  });
}
