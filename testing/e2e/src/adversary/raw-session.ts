/** A bare HTTP/2 client that can break every rule above TLS. It still checks whom it has reached. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import { linkPath } from "@causeway/adapter-h2";
import { clientOptions, type TlsIdentity } from "@causeway/adapter-tls";
import { asUnixMs } from "@causeway/core-base";
import { type Role, roles, type TrustStore } from "@causeway/core-identity";
import { common } from "@causeway/core-wire";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";

/** TLS options of a client with this certificate, or with none. */
export function tlsOf(identity: TlsIdentity | undefined, trust: TrustStore, role?: Role) {
  const options = clientOptions({
    identity: identity ?? { key: "", chainPem: "" },
    trust,
    expect: { roles: role === undefined ? roles : [role] },
    now: () => asUnixMs(Date.now()),
  });
  if (identity !== undefined) return options;
  const { key: _key, cert: _cert, ...rest } = options;
  return rest;
}

/** How a stream ended: HTTP status, gRPC status, and the code of our error table in its details. */
export interface RawEnd {
  readonly httpStatus: number | undefined;
  readonly status: string | undefined;
  readonly code: string | undefined;
  readonly message: string | undefined;
}

export interface RawStream {
  readonly stream: ClientHttp2Stream;
  readonly ended: Promise<RawEnd>;
}

/** One connection. */
export class RawSession implements Disposable {
  readonly session: ClientHttp2Session;
  /** Resolves when the server has greeted; rejects when the connection ends before. */
  readonly ready: Promise<void>;
  /** The code with which the server refused the connection, once it is over. */
  readonly refused: Promise<string | undefined>;

  private constructor(session: ClientHttp2Session) {
    this.session = session;
    let code: string | undefined;
    session.on("error", () => undefined);
    session.on("goaway", (_error, _last, opaque) => {
      code = Buffer.from(opaque ?? [])
        .toString("utf8")
        .split(" ", 1)[0];
    });
    this.ready = new Promise((resolve, reject) => {
      session.once("remoteSettings", () => resolve());
      session.once("close", () => reject(new Error(`the connection ended: ${code}`)));
    });
    this.ready.catch(() => undefined);
    this.refused = new Promise((resolve) => session.on("close", () => resolve(code)));
  }

  static open(url: string, identity: TlsIdentity | undefined, trust: TrustStore): RawSession {
    return new RawSession(connect(url, { ...tlsOf(identity, trust), settings: { enablePush: false } }));
  }

  /** A request with the headers of a gRPC client, or `headers` in their place. */
  request(headers: OutgoingHttpHeaders = {}): RawStream {
    const stream = this.session.request(
      { ":method": "POST", ":path": linkPath, "content-type": "application/grpc", te: "trailers", ...headers },
      { endStream: false },
    );
    let response: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    stream.on("response", (got) => {
      response = got;
    });
    stream.on("trailers", (got) => {
      trailers = got;
    });
    stream.on("error", () => undefined);
    stream.resume();
    const ended = new Promise<RawEnd>((resolve) => {
      const end = (): void => resolve(endOf(response, trailers));
      stream.on("close", end);
      // A status is the last word, also when we have not ended our own direction.
      stream.on("trailers", () => setImmediate(end));
    });
    return { stream, ended };
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}

function endOf(response: IncomingHttpHeaders, trailers: IncomingHttpHeaders): RawEnd {
  const all = { ...response, ...trailers };
  const error = all["grpc-status"] === undefined ? undefined : findTrailerError(headersOf(all));
  return {
    httpStatus: response[":status"] as number | undefined,
    status: all["grpc-status"]?.toString(),
    code: error?.findDetails(common.ErrorDetailSchema)[0]?.code,
    message: error?.rawMessage,
  };
}

function headersOf(incoming: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming)) {
    if (value !== undefined && !name.startsWith(":")) headers.set(name, String(value));
  }
  return headers;
}
