import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import { assigned, type CausewayError, refuse } from "@causeway/core-base";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { linkPath } from "./accept-link.ts";
import { carriedBy } from "./carrier.ts";
import { type Connection, type DialOptions, dial } from "./dial.ts";
import { Setting } from "./h2-frames.ts";
import { limitsWith } from "./limits.ts";
import type { Link } from "./link.ts";
import { connectionError } from "./node-errors.ts";
import { type LinkSide, StreamLink } from "./stream-link.ts";
import { fromConnectError } from "./wire-errors.ts";

/**
 * Opens a connection of its own with one Link on it; closing the link closes the connection.
 * Rejects with CAUSEWAY_UNREACHABLE, CAUSEWAY_CANCELLED, the code of the refusal, or what `authenticate` throws.
 */
export async function openLink(options: DialOptions & { readonly signal?: AbortSignal }): Promise<Link> {
  const connection = await dial(options, options.signal, onlyLinkSettings);
  try {
    const { stream, side } = await request(connection, options);
    const link = new StreamLink({
      carrier: carriedBy(stream),
      side,
      peer: connection.peer,
      channelBinding: connection.channelBinding,
      limits: limitsWith(options.limits),
      where: new URL(options.url).host,
    });
    link.onClose(() => connection.close());
    return link;
  } catch (thrown) {
    connection.destroy();
    throw thrown;
  }
}

/** Asks for the Link; resolves when the server has taken it. */
function request(
  connection: Connection,
  options: DialOptions & { readonly signal?: AbortSignal },
): Promise<{ stream: ClientHttp2Stream; side: LinkSide }> {
  const where = new URL(options.url).host;
  return new Promise((resolve, reject) => {
    const stream = connection.session.request(requestHeaders, { endStream: false });
    let status: IncomingHttpHeaders | undefined;
    /** Our own reason to give up; more telling than what the broken stream says. */
    let reason: CausewayError | undefined;
    let broken: unknown;
    const giveUp = (error: CausewayError) => {
      reason ??= error;
      stream.close(constants.NGHTTP2_CANCEL);
    };
    const onAbort = () => giveUp(refuse("CAUSEWAY_CANCELLED", `the link to ${where} was cancelled`));
    const { dialMs } = limitsWith(options.limits);
    const timer = setTimeout(
      () =>
        giveUp(refuse("CAUSEWAY_UNREACHABLE", `expected ${where} to open the link within ${dialMs} ms, it did not`)),
      dialMs,
    );
    const settle = () => {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
      stream.off("close", onClose);
    };
    const onClose = () => {
      settle();
      connection.settled(() => reject(reason ?? connection.failure() ?? connectionError(broken, where)));
    };
    if (options.signal?.aborted === true) onAbort();
    options.signal?.addEventListener("abort", onAbort, { once: true });
    stream.on("error", (error) => {
      broken ??= error;
    });
    stream.on("close", onClose);
    stream.on("trailers", (headers) => {
      status = headers;
    });
    stream.once("response", (headers) => {
      const refusal = refusalIn(headers, where);
      if (refusal !== undefined) {
        giveUp(refusal);
        return;
      }
      settle();
      resolve({ stream, side: clientSide(stream, connection, () => status) });
    });
  });
}

/** Why the response headers refuse the link: not gRPC, or nothing but a status. */
function refusalIn(
  headers: IncomingHttpHeaders & { readonly ":status"?: number | undefined },
  where: string,
): CausewayError | undefined {
  const error = headers["grpc-status"] === undefined ? undefined : findTrailerError(toHeaders(headers));
  if (error !== undefined) return fromConnectError(error);
  if (headers[":status"] === 200 && String(headers["content-type"]).startsWith("application/grpc")) return undefined;
  return refuse(
    "CAUSEWAY_UNREACHABLE",
    `expected ${where} to be a gateway, it answered with HTTP status ${headers[":status"]}; check the address`,
  );
}

function clientSide(
  stream: ClientHttp2Stream,
  connection: Connection,
  status: () => IncomingHttpHeaders | undefined,
): LinkSide {
  return {
    finish(error) {
      if (error !== undefined) stream.close(constants.NGHTTP2_CANCEL);
      else if (!stream.writableEnded) stream.end();
    },
    received() {
      const trailers = status();
      const error = trailers === undefined ? undefined : findTrailerError(toHeaders(trailers));
      return error === undefined
        ? trailers === undefined
          ? connection.failure()
          : undefined
        : fromConnectError(error);
    },
    endedWell: () => status()?.["grpc-status"] === "0",
  };
}

function toHeaders(headers: IncomingHttpHeaders): Headers {
  const out = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !name.startsWith(":")) out.set(name, String(value));
  }
  return out;
}

/** Promises that the connection carries nothing but the link, and takes what the gateway has in one piece. */
const onlyLinkSettings = { maxFrameSize: 1_048_576, customSettings: { [Setting.onlyLink]: 1 } };

const requestHeaders = {
  ":method": "POST",
  ":path": linkPath,
  "content-type": assigned.linkMediaType,
  "grpc-accept-encoding": "identity",
  te: "trailers",
  "user-agent": "causeway",
};
