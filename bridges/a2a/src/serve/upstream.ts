/** The A2A agent behind the bridge: its card, byte for byte, and a client for it. */
import { A2A_PROTOCOL_VERSION, AGENT_CARD_PATH, type AgentCard } from "@a2a-js/sdk";
import { type Client, ClientFactory } from "@a2a-js/sdk/client";
import { defaults, refuse } from "@causeway/core-base";
import { parseCard } from "../translate/card.ts";
import { type InnerUrls, innerUrlsOf } from "../translate/inner-urls.ts";

/** A running A2A agent. */
export interface Upstream {
  readonly url: string;
  readonly card: AgentCard;
  /** The exact bytes that the agent serves, for the record. */
  readonly cardBytes: Uint8Array;
  readonly client: Client;
  /** URLs in its card that lie inside. */
  readonly innerUrls: InnerUrls;
}

/** How long the agent may take to answer with its card. */
const cardMs = 10_000;

/**
 * Fetches the card and opens a client. Plain HTTP only to the loopback interface (C-27); the card's interfaces have to
 * be at the same origin as the card, so that a card cannot point the bridge at a third party.
 */
export async function openUpstream(url: string, signal?: AbortSignal): Promise<Upstream> {
  const base = checkedUrl(url);
  const cardBytes = await fetchCard(base, signal);
  let card: AgentCard;
  try {
    card = parseCard(cardBytes);
  } catch (cause) {
    throw refuse(
      "CAUSEWAY_RECORD_MALFORMED",
      `${base.href} serves a card that is no A2A AgentCard: ${sentence(cause)}`,
      { cause },
    );
  }
  const usable = card.supportedInterfaces.filter((face) => {
    const target = URL.parse(face.url);
    return target !== null && target.origin === base.origin && face.protocolVersion.startsWith("1.");
  });
  if (usable.length === 0) {
    const offered = card.supportedInterfaces
      .map((face) => `${face.protocolBinding} ${face.protocolVersion} at ${face.url}`)
      .join(", ");
    throw refuse(
      "CAUSEWAY_UNSUPPORTED",
      `expected an A2A ${A2A_PROTOCOL_VERSION} interface at ${base.origin}, the card offers ${offered || "none"}`,
    );
  }
  const client = await new ClientFactory().createFromAgentCard({ ...card, supportedInterfaces: usable });
  return {
    url: base.href,
    card,
    cardBytes,
    client,
    innerUrls: innerUrlsOf(JSON.parse(new TextDecoder().decode(cardBytes))),
  };
}

/** True for a host name that cannot leave this machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || hostname === "::1" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

function checkedUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw refuse(
      "CAUSEWAY_NAME_INVALID",
      `expected the URL of an A2A agent like http://127.0.0.1:41241, got ${JSON.stringify(text)}`,
    );
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw refuse(
      "CAUSEWAY_UNSUPPORTED",
      `plain HTTP is for an agent on this machine only; use https for ${url.hostname}`,
    );
  }
  return url;
}

async function fetchCard(base: URL, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const cardUrl = new URL(AGENT_CARD_PATH, base.href.endsWith("/") ? base : `${base.href}/`);
  const limit = AbortSignal.timeout(cardMs);
  let response: Response;
  try {
    response = await fetch(cardUrl, { signal: signal ? AbortSignal.any([signal, limit]) : limit, redirect: "error" });
  } catch (cause) {
    throw refuse(
      "CAUSEWAY_UNREACHABLE",
      `no A2A agent answers at ${cardUrl.href}: ${sentence(cause)}; start it first`,
      { cause },
    );
  }
  if (!response.ok) {
    throw refuse("CAUSEWAY_RECORD_NOT_FOUND", `expected an AgentCard at ${cardUrl.href}, got HTTP ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > defaults.recordBytesMax) {
      throw refuse(
        "CAUSEWAY_RECORD_TOO_LARGE",
        `the card at ${cardUrl.href} is larger than the ${defaults.recordBytesMax} bytes of a record`,
      );
    }
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

function sentence(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.cause instanceof Error ? thrown.cause.message : thrown.message;
}
