/** Which programs of this machine an endpoint serves: what it does is done in the name of its agent. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import { type CausewayError, refuse } from "@causeway/core-base";
import { canTellUsers, isSameUser } from "./same-user.ts";

/**
 * `same-user`: programs that run as the same Unix user, which clients need not know of. A token: whoever has it, in the
 * header `Authorization: Bearer …`. `any-local`: every program of this machine.
 */
export type EndpointAccess = "same-user" | "any-local" | { readonly token: string };

/** Least characters of a token. */
const tokenCharsMin = 16;

/** Judges the requests of `server`: why one is refused, or undefined. Throws when this system cannot tell users apart. */
export function accessCheck(
  access: EndpointAccess,
  server: Server,
): (request: IncomingMessage) => CausewayError | undefined {
  if (access === "any-local") return () => undefined;
  if (typeof access === "object") return tokenCheck(access.token);
  if (!canTellUsers()) {
    throw refuse(
      "CAUSEWAY_UNSUPPORTED",
      "this system does not tell whose program connects; give clients a token (--token-file)",
    );
  }
  const isOwn = new WeakMap<Socket, boolean>();
  server.on("connection", (socket: Socket) => isOwn.set(socket, isSameUser(socket)));
  return ({ socket }) =>
    isOwn.get(socket) === true
      ? undefined
      : refuse(
          "CAUSEWAY_FORWARDING_NOT_ALLOWED",
          "the A2A endpoint serves programs of the user that runs it only; run the client as that user, or give it a token (--token-file)",
        );
}

function tokenCheck(token: string): (request: IncomingMessage) => CausewayError | undefined {
  if (token.length < tokenCharsMin)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected a token of at least ${tokenCharsMin} characters`);
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  const expected = digest(token);
  return ({ headers }) => {
    const [, given] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "") ?? [];
    if (given !== undefined && timingSafeEqual(digest(given), expected)) return undefined;
    return refuse(
      "CAUSEWAY_BRIDGE_TOKEN_INVALID",
      `expected the token of this A2A endpoint as Authorization: Bearer TOKEN, got ${given === undefined ? "none" : "another one"}`,
    );
  };
}
