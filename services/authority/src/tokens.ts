/** Join tokens: made by an operator, stored as a hash, good for one enrolment. */
import { create } from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { parseAgentId, parseDomain, parseGatewayUri, refuse, type StoredToken } from "@causeway/core-base";
import { type CertifiedGateway, encodeJoinToken, parseJoinToken } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { roleOf } from "./access.ts";
import { hashHex } from "./bytes.ts";
import { type AuthorityContext, audit } from "./context.ts";
import type { Grant } from "./issuance.ts";

/** Makes a token. `actor` is who answers for it in the audit log. */
export function createToken(
  context: AuthorityContext,
  actor: string,
  request: aca.CreateTokenRequest,
): aca.CreateTokenResponse {
  const { settings, store, crypto } = context;
  const role = roleOf(request.role);
  const spiffeId = parseScope(settings.domain, request.spiffeId);
  const gateway = parseGateway(role === "gateway", request.gateway);
  if ((role === "agent" || role === "monitor") && request.hosts.length > 0) {
    throw refuse(
      "CAUSEWAY_IDENTITY_ROLE_WRONG",
      "hosts are certified for servers only; leave them out or choose the role gateway or registry",
    );
  }
  const hosts = request.hosts.map(parseHost);
  if (hosts.length > hostsMax)
    throw refuse("CAUSEWAY_LIMIT_COUNT", `expected at most ${hostsMax} hosts, got ${hosts.length}`);
  const lifetimeMs = request.lifetimeMs === 0n ? lifetimeMsDefault : Number(request.lifetimeMs);
  if (lifetimeMs > settings.tokenLifetimeMsMax) {
    throw refuse(
      "CAUSEWAY_LIMIT_COUNT",
      `expected a lifetime of at most ${settings.tokenLifetimeMsMax} ms, got ${lifetimeMs}`,
    );
  }
  const secret = base64Encode(crypto.randomBytes(secretBytes), "url");
  const expiresUnixMs = context.now() + lifetimeMs;
  store.transaction(() => {
    store.insertToken({
      hash: hashHex(crypto, secret),
      spiffeId,
      role,
      hosts,
      ...(gateway && { gateway }),
      expiresUnixMs,
      createdBy: actor,
    });
    audit(context, "token.created", actor, spiffeId, `role ${role}`);
  });
  const token = encodeJoinToken({ url: settings.url, rootFingerprint: context.hierarchy.rootFingerprint, secret });
  return create(aca.CreateTokenResponseSchema, { token, expiresUnixMs: BigInt(expiresUnixMs) });
}

/** The stored token of a secret or a whole join token, if it allows this name. Throws one error for every failure. */
export function findToken(context: AuthorityContext, text: string, spiffeId: string): StoredToken {
  const secret = text.includes(".") ? parseJoinToken(text).secret : text;
  const token = context.store.token(hashHex(context.crypto, secret));
  // One text for all cases, so that a guess teaches nothing.
  const invalid = () =>
    refuse(
      "CAUSEWAY_IDENTITY_TOKEN_INVALID",
      `the join token is unknown, used, expired or not for ${spiffeId}; ask an operator for a new one`,
    );
  if (!token || token.expiresUnixMs <= context.now()) throw invalid();
  const matches = isPrefixToken(token) ? spiffeId.startsWith(token.spiffeId) : spiffeId === token.spiffeId;
  if (!matches) throw invalid();
  return token;
}

/** True when the token is for any name under a prefix. */
export function isPrefixToken(token: StoredToken): boolean {
  return token.spiffeId.endsWith("/");
}

/** What a token or an earlier certificate allows. */
export function grantOf(stored: Pick<StoredToken, "role" | "hosts" | "gateway">): Grant {
  const role = stored.role === "authority" ? "authority" : roleOf(stored.role);
  const { gateway } = stored;
  return {
    role,
    hosts: stored.hosts,
    ...(gateway && { gateway: certifiedGateway(gateway.uri, gateway.level, gateway.namespaces) }),
  };
}

function parseScope(domain: string, text: string): string {
  const full = text.startsWith("spiffe://") ? text : `spiffe://${text}`;
  const isPrefix = full.endsWith("/");
  const bare = isPrefix ? full.slice(0, -1) : full;
  const owner = parseDomain(bare.slice("spiffe://".length).split("/")[0] ?? "");
  if (owner !== domain) {
    throw refuse(
      "CAUSEWAY_IDENTITY_DOMAIN_FOREIGN",
      `this authority certifies names in ${domain}, not in ${owner}; ask the authority of that domain`,
    );
  }
  if (isPrefix && bare === `spiffe://${domain}`) return full;
  const name = parseAgentId(bare);
  return isPrefix ? `${name}/` : name;
}

function parseGateway(isGateway: boolean, gateway: aca.GatewayAttributes | undefined): CertifiedGateway | undefined {
  if (isGateway !== (gateway !== undefined)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_ROLE_WRONG",
      "expected gateway attributes with the role gateway and with no other; give URI, level and namespaces",
    );
  }
  return gateway && certifiedGateway(gateway.gatewayUri, gateway.level, gateway.namespaces);
}

function certifiedGateway(uri: string, level: number, namespaces: readonly string[]): CertifiedGateway {
  if (level !== 1 && level !== 2)
    throw refuse("CAUSEWAY_IDENTITY_ROLE_WRONG", `expected the gateway level 1 or 2, got ${level}`);
  const wrong = namespaces.find((namespace) => !/^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/.test(namespace));
  if (wrong !== undefined || namespaces.length > namespacesMax) {
    throw refuse(
      "CAUSEWAY_NAME_INVALID",
      `expected at most ${namespacesMax} namespaces like travel/eu, got ${JSON.stringify(wrong ?? namespaces.length)}`,
    );
  }
  return { uri: parseGatewayUri(uri), level, namespaces };
}

function parseHost(host: string): string {
  if (/^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(host) || /^[0-9a-fA-F:.]{2,45}$/.test(host)) return host;
  throw refuse(
    "CAUSEWAY_NAME_INVALID",
    `expected a DNS name or an IP address, got ${JSON.stringify(host.slice(0, 60))}`,
  );
}

const lifetimeMsDefault = 3_600_000;
const secretBytes = 32;
const hostsMax = 32;
const namespacesMax = 64;
