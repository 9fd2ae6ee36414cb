/** A bare HTTP/2 client that can break every rule of a Link. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import { linkPath } from "../accept-link.ts";
import type { PortAddress } from "../port.ts";
import type { TestDomain } from "./world.ts";

/** A connection with a client certificate. */
export function connectSession(
  domain: TestDomain,
  address: PortAddress,
  path = "travel/raw",
): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connect(address.url, { ...domain.clientTls(path), settings: { enablePush: false } });
    session.once("error", reject);
    session.once("remoteSettings", () => {
      session.off("error", reject);
      session.on("error", () => undefined);
      resolve(session);
    });
  });
}

/** What a Link stream ended with. */
export interface RawEnd {
  readonly status: string | undefined;
  readonly message: string | undefined;
  readonly httpStatus: number | undefined;
  readonly contentType: string | undefined;
  readonly rstCode: number | undefined;
}

/** One stream on a session. */
export interface RawLink {
  readonly stream: ClientHttp2Stream;
  readonly headers: Promise<IncomingHttpHeaders>;
  readonly ended: Promise<RawEnd>;
  sendFrame(frame: Uint8Array): void;
  nextFrame(): Promise<Buffer>;
}

/** Opens a Link stream with the headers of a gRPC client, or with `headers` in their place. */
export function openRawLink(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}): RawLink {
  const stream = session.request(
    { ":method": "POST", ":path": linkPath, "content-type": "application/grpc", te: "trailers", ...headers },
    { endStream: false },
  );
  let response: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  let received = Buffer.alloc(0);
  const waiting: ((frame: Buffer) => void)[] = [];
  const got = Promise.withResolvers<IncomingHttpHeaders>();
  const end = Promise.withResolvers<RawEnd>();
  stream.on("response", (h) => {
    response = h;
    got.resolve(h);
  });
  stream.on("trailers", (h) => {
    trailers = h;
  });
  stream.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    while (waiting.length > 0 && received.length >= 5 && received.length >= 5 + received.readUInt32BE(1)) {
      const length = received.readUInt32BE(1);
      waiting.shift()?.(received.subarray(5, 5 + length));
      received = received.subarray(5 + length);
    }
  });
  stream.on("error", () => undefined);
  stream.on("close", () => {
    const text = (name: string) => (trailers[name] ?? response[name])?.toString();
    end.resolve({
      status: text("grpc-status"),
      message: text("grpc-message"),
      httpStatus: response[":status"] as number | undefined,
      contentType: response["content-type"],
      rstCode: stream.rstCode,
    });
  });
  return {
    stream,
    headers: got.promise,
    ended: end.promise,
    sendFrame(frame) {
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(frame.length, 1);
      stream.write(Buffer.concat([prefix, frame]));
    },
    nextFrame: () => new Promise((resolve) => waiting.push(resolve)),
  };
}
