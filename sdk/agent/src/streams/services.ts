/**
 * Connect over streams (AGP-22): a transport for generated clients, and a router for generated services. Each call is one
 * stream whose name is the RPC's full name; inside, it speaks gRPC's framing, so that deadlines, cancellation, status,
 * metadata and trailers are exactly those of gRPC.
 */
import { type AgentId, CausewayError, type StatusName } from "@causeway/core-base";
import type { Metadata } from "@causeway/core-session";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextKey,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type Transport,
} from "@connectrpc/connect";
import type { UniversalClientFn, UniversalHandler } from "@connectrpc/connect/protocol";
import { createTransport } from "@connectrpc/connect/protocol-grpc";
import type { AgentStream, StreamHandler, StreamOptions, TransportOptions } from "../api.ts";

/** The agent that made a call, in the context of its handler: `context.values.get(callerKey)`. */
export const callerKey: ContextKey<AgentId | undefined> = createContextKey<AgentId | undefined>(undefined, {
  description: "agent that made the call",
});

/** A transport whose calls are streams that `open` opens. */
export function serviceTransport(open: (options: StreamOptions) => AgentStream, options: TransportOptions): Transport {
  return createTransport({
    baseUrl: "https://agent",
    httpClient: clientOver(open),
    useBinaryFormat: true,
    interceptors: [...(options.interceptors ?? [])],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: 1024,
    readMaxBytes: options.messageBytesMax ?? messageBytesMax,
    writeMaxBytes: options.messageBytesMax ?? messageBytesMax,
    ...(options.timeoutMs !== undefined && { defaultTimeoutMs: options.timeoutMs }),
  });
}

/** Handlers of all methods that `routes` registers, by the name of their streams. */
export function serviceHandlers(routes: (router: ConnectRouter) => void): ReadonlyMap<string, StreamHandler> {
  const router = createConnectRouter({ grpc: true, grpcWeb: false, connect: false, readMaxBytes: messageBytesMax });
  routes(router);
  return new Map(router.handlers.map((handler) => [handler.requestPath.slice(1), handlerOver(handler)]));
}

function clientOver(open: (options: StreamOptions) => AgentStream): UniversalClientFn {
  return async ({ url, header, body, signal }) => {
    const name = new URL(url).pathname.slice(1);
    const timeoutMs = timeoutOf(header.get("grpc-timeout"));
    try {
      const stream = open({
        name,
        metadata: metadataOf(header),
        ...(timeoutMs !== undefined && { timeoutMs }),
        ...(signal && { signal }),
      });
      void pump(stream, body);
      const [status, ...rest] = await stream.header;
      const trailer = new Headers();
      return {
        status: status?.[0] === statusName ? Number(status[1]) : 200,
        header: headersOf(rest),
        body: received(stream, trailer),
        trailer,
      };
    } catch (thrown) {
      throw connectErrorOf(thrown);
    }
  };
}

/** The request's body goes out beside the answer that comes in. */
async function pump(stream: AgentStream, body: AsyncIterable<Uint8Array> | undefined): Promise<void> {
  try {
    for await (const bytes of body ?? []) await stream.write(bytes);
    await stream.end();
  } catch (thrown) {
    // A server that has answered already need not hear the rest; a client that failed to make it takes the call back.
    if (!stream.signal.aborted) stream.reset(CausewayError.from(thrown));
  }
}

async function* received(stream: AgentStream, trailer: Headers): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const bytes of stream) yield bytes;
    for (const [name, value] of await stream.trailer) trailer.append(name, value);
  } catch (thrown) {
    throw connectErrorOf(thrown);
  }
}

function handlerOver(handle: UniversalHandler): StreamHandler {
  return async (stream) => {
    const response = await handle({
      httpVersion: "2.0",
      url: `https://agent/${stream.name}`,
      method: "POST",
      header: headersOf(stream.metadata),
      body: stream,
      signal: stream.signal,
      contextValues: createContextValues().set(callerKey, stream.peer),
    });
    if (stream.signal.aborted) return;
    stream.sendHeader([[statusName, String(response.status)], ...metadataOf(response.header ?? new Headers())]);
    for await (const bytes of response.body ?? []) await stream.write(bytes);
    await stream.end(metadataOf(response.trailer ?? new Headers()));
  };
}

function metadataOf(headers: Headers): Metadata {
  const metadata: [string, string][] = [];
  headers.forEach((value, name) => metadata.push([name, value]));
  return metadata;
}

function headersOf(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const [name, value] of metadata) headers.append(name, value);
  return headers;
}

/** gRPC's time-out header: a number and a unit. */
function timeoutOf(header: string | null): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(header ?? "");
  if (!match) return undefined;
  const unitMs = unitsMs[match[2] as keyof typeof unitsMs];
  return Math.max(1, Math.ceil(Number(match[1]) * unitMs));
}

/** An error of a stream with the gRPC code that belongs to it; the code of the table stays its cause. */
function connectErrorOf(thrown: unknown): ConnectError {
  if (thrown instanceof ConnectError) return thrown;
  const error = CausewayError.from(thrown);
  return new ConnectError(error.message, codes[error.status], undefined, undefined, error);
}

const codes: Readonly<Record<StatusName, Code>> = {
  INVALID_ARGUMENT: Code.InvalidArgument,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  UNAUTHENTICATED: Code.Unauthenticated,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  ABORTED: Code.Aborted,
  OUT_OF_RANGE: Code.OutOfRange,
  UNIMPLEMENTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
  UNAVAILABLE: Code.Unavailable,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  CANCELLED: Code.Canceled,
  UNKNOWN: Code.Unknown,
};

const unitsMs = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 0.001, n: 0.000_001 } as const;
const statusName = ":status";
/** One message of a call, default. */
const messageBytesMax = 16_777_216;
