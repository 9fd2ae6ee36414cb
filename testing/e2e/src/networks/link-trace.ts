/** Which frames cross the links of this process: seen beneath the SDK, at Node's HTTP/2. */
import http2, { type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders } from "node:http2";
import { syncBuiltinESMExports } from "node:module";
import { linkPath } from "@causeway/adapter-h2";
import { decodeFrame, FrameKind, FrameScan, scanFrame } from "@causeway/core-wire";

/** Answers the list that grows, a line for each frame. Call before anything is dialled. */
export function traceLinks(): string[] {
  const lines: string[] = [];
  const dial = http2.connect;
  http2.connect = ((...args: Parameters<typeof dial>) => {
    const session: ClientHttp2Session = dial(...args);
    const request = session.request.bind(session);
    session.request = (headers?: OutgoingHttpHeaders | readonly string[], options?: object) => {
      const stream = request(headers as OutgoingHttpHeaders, options);
      if (!Array.isArray(headers) && (headers as OutgoingHttpHeaders)[":path"] === linkPath) traceStream(stream, lines);
      return stream;
    };
    return session;
  }) as typeof dial;
  syncBuiltinESMExports();
  return lines;
}

function traceStream(stream: ClientHttp2Stream, lines: string[]): void {
  const fromAgent = frameReader((frame) => lines.push(`agent: ${kindOf(frame)}`));
  const fromGateway = frameReader((frame) => lines.push(`gateway: ${kindOf(frame)}`));
  const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
  stream.write = ((chunk: Uint8Array, ...rest: unknown[]) => {
    fromAgent(chunk);
    return write(chunk, ...rest);
  }) as typeof stream.write;
  const push = stream.push.bind(stream);
  stream.push = (chunk: Uint8Array | null, ...rest) => {
    if (chunk !== null) fromGateway(chunk);
    return push(chunk, ...rest);
  };
}

/** Takes chunks of a gRPC stream and hands on its messages. */
function frameReader(take: (frame: Uint8Array) => void): (chunk: Uint8Array) => void {
  let held = Buffer.alloc(0);
  return (chunk) => {
    held = Buffer.concat([held, chunk]);
    while (held.length >= prefixBytes) {
      const end = prefixBytes + held.readUInt32BE(1);
      if (held.length < end) return;
      take(held.subarray(prefixBytes, end));
      held = held.subarray(end);
    }
  };
}

const scan = new FrameScan();

/** What a frame is, and which of its fields are set; what differs from one attachment to the next is left out. */
function kindOf(frame: Uint8Array): string {
  const fault = scanFrame(frame, 0, frame.length, scan);
  if (fault !== undefined) throw new Error(`a frame that is none: ${String(fault)}`);
  if (scan.kind === FrameKind.message) return "message";
  const body = decodeFrame(frame) as { readonly case?: string; readonly value?: Readonly<Record<string, unknown>> };
  const inner = body.value?.["body"] as typeof body | undefined;
  const { case: kind, value } = body.case === "control" && inner !== undefined ? inner : body;
  return `${kind} {${Object.entries(value ?? {})
    .filter(isSet)
    .map(([field]) => field)
    .join(" ")}}`;
}

const isSet = ([field, value]: [string, unknown]): boolean =>
  !field.startsWith("$") && !(value === undefined || value === "" || (Array.isArray(value) && value.length === 0));

/** Of a gRPC message: a flag and the length. */
const prefixBytes = 5;
