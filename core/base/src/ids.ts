/**
 * Names of agents, gateways and domains (C-13): SPIFFE IDs, their short form for people, and prefixes of whole path
 * segments. Everything that routes or certifies takes these types, so that a raw string is parsed exactly once.
 */
import { refuse } from "./errors.ts";

declare const brand: unique symbol;
/** A string that has passed the parser named by `B`. */
export type Branded<B extends string> = string & { readonly [brand]: { readonly [kind in B]: true } };

/** `spiffe://domain/namespace/name`, optionally with a last segment `@instance`. At most 512 bytes. */
export type SpiffeId = Branded<"SpiffeId">;
/** SPIFFE ID of an agent, without instance. */
export type AgentId = SpiffeId & Branded<"AgentId">;
/** Certified URI of a gateway, the entry used in PATH and ORIGIN. */
export type GatewayUri = Branded<"GatewayUri">;
/** Trust domain name: lower-case letters, digits, '.', '-', '_'. */
export type Domain = Branded<"Domain">;

/** Longest SPIFFE ID, topic or prefix in bytes. */
export const nameBytesMax = 512;

const scheme = "spiffe://";
const domainPattern = /^[a-z0-9._-]{1,255}$/;
const segmentPattern = /^[A-Za-z0-9._-]+$/;
const instancePattern = /^@[A-Za-z0-9_-]{1,64}$/;

/** Parses a full SPIFFE ID or its short form `domain/path`. Throws `CAUSEWAY_NAME_INVALID`. */
export function parseSpiffeId(text: string): SpiffeId {
  const full = text.startsWith(scheme) ? text : scheme + text;
  const segments = full.slice(scheme.length).split("/");
  const [domain, ...path] = segments;
  const last = path.at(-1);
  const plain = last?.startsWith("@") ? path.slice(0, -1) : path;
  const valid =
    full.length <= nameBytesMax &&
    domain !== undefined &&
    domainPattern.test(domain) &&
    plain.length > 0 &&
    plain.every((s) => segmentPattern.test(s) && s !== "." && s !== "..") &&
    (last === undefined || !last.startsWith("@") || instancePattern.test(last));
  if (!valid) {
    throw refuse(
      "CAUSEWAY_NAME_INVALID",
      `expected a name like blue.example/tools/echo, got ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
  return full as SpiffeId;
}

/** Parses an Agent ID: a SPIFFE ID without instance. Throws `CAUSEWAY_NAME_INVALID`. */
export function parseAgentId(text: string): AgentId {
  const id = parseSpiffeId(text);
  if (instanceOf(id) !== undefined) {
    throw refuse("CAUSEWAY_NAME_INVALID", `expected an Agent ID without instance, got ${JSON.stringify(text)}`);
  }
  return id as AgentId;
}

/**
 * Parses a prefix of whole segments, `domain/` or `domain/namespace/`, into its full form without the slash at its end.
 * Throws `CAUSEWAY_NAME_INVALID`.
 */
export function parsePrefix(text: string): string {
  const bare = text.endsWith("/") ? text.slice(0, -1) : text;
  const full = bare.startsWith(scheme) ? bare : scheme + bare;
  const [domain = "", ...path] = full.slice(scheme.length).split("/");
  const isWhole = path.every((s) => segmentPattern.test(s) && s !== "." && s !== "..");
  if (full.length > nameBytesMax || !domainPattern.test(domain) || !isWhole) {
    throw refuse(
      "CAUSEWAY_NAME_INVALID",
      `expected a prefix of whole segments like blue.example/tools/, got ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
  return full;
}

/** Parses a domain name. Throws `CAUSEWAY_NAME_INVALID`. */
export function parseDomain(text: string): Domain {
  if (!domainPattern.test(text)) {
    throw refuse(
      "CAUSEWAY_NAME_INVALID",
      `expected a domain like blue.example, got ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
  return text as Domain;
}

const gatewayUriPattern = /^(https|amsp):\/\/[A-Za-z0-9.[\]:_-]{1,255}(\/[A-Za-z0-9._/-]*)?$/;
const addressPattern = /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):\d{1,5}$/;

/** Parses a gateway URI; a bare `ip:port` becomes `amsp://ip:port` (AMSP-42). Throws `CAUSEWAY_NAME_INVALID`. */
export function parseGatewayUri(text: string): GatewayUri {
  const uri = addressPattern.test(text) ? `amsp://${text}` : text;
  if (uri.length > nameBytesMax || !gatewayUriPattern.test(uri)) {
    throw refuse(
      "CAUSEWAY_NAME_INVALID",
      `expected a gateway URI like https://gw1.blue.example/amsp or ip:port, got ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
  return uri as GatewayUri;
}

/** The trust domain of a SPIFFE ID. */
export function domainOf(id: SpiffeId): Domain {
  const end = id.indexOf("/", scheme.length);
  return id.slice(scheme.length, end < 0 ? undefined : end) as Domain;
}

/** The path of a SPIFFE ID without leading slash, instance included. */
export function pathOf(id: SpiffeId): string {
  return id.slice(id.indexOf("/", scheme.length) + 1);
}

/** The instance without '@', or undefined. */
export function instanceOf(id: SpiffeId): string | undefined {
  const at = id.lastIndexOf("/@");
  return at < 0 ? undefined : id.slice(at + 2);
}

/** The Agent ID that a possibly instance-qualified SPIFFE ID belongs to. */
export function agentOf(id: SpiffeId): AgentId {
  const at = id.lastIndexOf("/@");
  return (at < 0 ? id : id.slice(0, at)) as AgentId;
}

/** Names one attachment of an agent. */
export function withInstance(id: AgentId, instance: string): SpiffeId {
  return parseSpiffeId(`${id}/@${instance}`);
}

/** The form that people see and type: without scheme. */
export function shortName(id: SpiffeId): string {
  return id.slice(scheme.length);
}

/** True when `prefix` is `name` or a whole-segment prefix of it: "a/b" covers "a/b/c" and not "a/bc" (AAP-76). */
export function isPrefixOf(prefix: string, name: string): boolean {
  const bare = prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
  return name === bare || (name.startsWith(bare) && name[bare.length] === "/");
}
