/** Plain pages beside the services, for clients that know HTTP and no RPC: monitoring, for one. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { CausewayError, refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { httpStatus } from "@causeway/core-wire";
import { answerOnly } from "./accept-link.ts";
import { type Caller, isApplicant } from "./caller.ts";

/** What is answered to a GET. */
export interface Page {
  readonly contentType: string;
  readonly body: string;
}

/** Makes a page for whoever asks. What it throws is answered as its status, with the message as text. */
export type PageMaker = (caller: VerifiedPeer) => Page;

/** Answers one request for a page. */
export function servePage(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  caller: Caller,
  make: PageMaker,
): void {
  if (headers[":method"] !== "GET") {
    answerOnly(stream, { ":status": 405, allow: "GET" });
    return;
  }
  const now = Date.now();
  const answer = answerOf(caller, make, now);
  if (stream.destroyed) return;
  if (!isApplicant(caller) && now > renewedBy(caller)) closeAfter(stream);
  stream.respond({ ":status": answer.status, "content-type": answer.contentType, "cache-control": "no-store" });
  stream.end(answer.body);
  stream.resume();
}

/**
 * Who reads a page again and again keeps its connection, longer than its certificate counts. Towards the end of that it
 * has a renewed one, and brings it when it has to connect anew.
 */
function closeAfter(stream: ServerHttp2Stream): void {
  const { session } = stream;
  stream.once("close", () => session?.close());
}

/** Certificates are renewed at two thirds of their lifetime; this is some time later. */
const renewedBy = ({ notBefore, notAfter }: VerifiedPeer): number => notBefore + (notAfter - notBefore) * 0.75;

function answerOf(caller: Caller, make: PageMaker, now: number): Page & { readonly status: number } {
  try {
    if (isApplicant(caller))
      throw refuse("CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED", "expected a certificate of the domain's authority");
    if (caller.notAfter < now)
      throw refuse(
        "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
        `the certificate of ${caller.spiffeId} has expired since the connection was opened; connect anew`,
      );
    return { status: 200, ...make(caller) };
  } catch (thrown) {
    const error = CausewayError.from(thrown);
    return {
      status: httpStatus(error),
      contentType: "text/plain; charset=utf-8",
      body: `${error.code}: ${error.message}\n`,
    };
  }
}
