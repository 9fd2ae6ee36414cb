/**
 * An A2A endpoint on this machine for agents of the network: an unmodified A2A client uses
 * `http://127.0.0.1:PORT/agents/<domain>/<namespace>/<name>` as if the agent ran there.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { AGENT_CARD_PATH, AgentCard } from "@a2a-js/sdk";
import { jsonRpcHandler, restHandler, UserBuilder } from "@a2a-js/sdk/server/express";
import type { Agent, Match } from "@causeway/agent";
import { CausewayError, parseAgentId, refuse, shortName } from "@causeway/core-base";
import express, { type Request, type RequestHandler, type Response } from "express";
import { endpointCard, parseCard } from "../translate/card.ts";
import { accessCheck, type EndpointAccess } from "./access.ts";
import { RemoteAgentHandler } from "./remote-agent.ts";
import { isLoopback } from "./upstream.ts";

/** A running endpoint. */
export interface A2aEndpoint extends AsyncDisposable {
  /** http://127.0.0.1:PORT */
  readonly url: string;
  /** Base URL of one agent, as A2A clients take it; it ends in "/", since they resolve the card relative to it. */
  urlOf(agentId: string): string;
}

export interface EndpointOptions {
  /** A loopback address; anything else is refused, since the endpoint speaks plain HTTP (C-27). Default 127.0.0.1. */
  readonly host?: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Whom it serves. Default `same-user`; refused with CAUSEWAY_UNSUPPORTED where the system does not tell users apart. */
  readonly access?: EndpointAccess;
}

/** Remote agents whose handlers are kept; the oldest are dropped first. */
const facesMax = 1_000;
/** A card from the registry is asked for again after this time. */
const cardFreshMs = 30_000;

/** Serves every agent that `agent` can find. All requests are made in the name of `agent`. */
export async function openA2aEndpoint(agent: Agent, options: EndpointOptions): Promise<A2aEndpoint> {
  const host = options.host ?? "127.0.0.1";
  if (!isLoopback(host)) {
    throw refuse(
      "CAUSEWAY_UNSUPPORTED",
      `the A2A endpoint speaks plain HTTP and listens on the loopback interface only, not on ${host}`,
    );
  }
  const faces = new Map<string, Face>();
  const { access = "same-user" } = options;
  const app = express();
  app.disable("x-powered-by");
  app.use(guardLocal);
  const server = createServer(app);
  const refusalOf = accessCheck(access, server);
  app.use((request, response, next) => {
    const refusal = refusalOf(request);
    if (refusal === undefined) next();
    else refuseHttp(response, refusal);
  });
  await listen(server, host, options.port);
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${(server.address() as AddressInfo).port}`;

  const faceOf = async (agentId: string): Promise<Face> => {
    const known = faces.get(agentId);
    if (known !== undefined && performance.now() - known.askedAt < cardFreshMs) return known;
    const face = createFace(
      agent,
      agentId,
      `${url}/agents/${shortName(parseAgentId(agentId))}`,
      await findAgent(agent, agentId),
      typeof access === "object",
    );
    faces.delete(agentId);
    faces.set(agentId, face);
    const oldest = faces.keys().next().value;
    if (faces.size > facesMax && oldest !== undefined) faces.delete(oldest);
    return face;
  };

  app.use("/agents", async (request: Request, response: Response, next) => {
    try {
      const route = splitPath(request.path);
      if (route === undefined)
        throw refuse(
          "CAUSEWAY_NAME_INVALID",
          `expected /agents/<domain>/<namespace>/<name>/${AGENT_CARD_PATH}, got ${request.path}`,
        );
      const face = await faceOf(route.agentId);
      request.url = route.rest;
      await face.serve(request, response, next);
    } catch (thrown) {
      refuseHttp(response, thrown);
    }
  });

  return {
    url,
    urlOf: (agentId) => `${url}/agents/${shortName(parseAgentId(agentId))}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Face {
  readonly askedAt: number;
  readonly serve: RequestHandler;
}

function createFace(agent: Agent, agentId: string, baseUrl: string, match: Match, needsToken: boolean): Face {
  const card = endpointCard({
    card: parseCard(match.cardBytes),
    agentId,
    baseUrl,
    originalUrl: `${baseUrl}/.well-known/original-agent-card.json`,
    needsToken,
  });
  const requestHandler = new RemoteAgentHandler(agent, agentId, card);
  const router = express.Router();
  router.get(`/${AGENT_CARD_PATH}`, (_request, response) => {
    response.json(AgentCard.toJSON(card));
  });
  router.get("/.well-known/original-agent-card.json", (_request, response) => {
    response.type("application/json").send(Buffer.from(match.cardBytes));
  });
  router.use("/jsonrpc", jsonRpcHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
  router.use("/rest", restHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
  return { askedAt: performance.now(), serve: router };
}

async function findAgent(agent: Agent, agentId: string): Promise<Match> {
  const id = parseAgentId(agentId);
  const found = await agent.lookup(id);
  if (found === undefined)
    throw refuse(
      "CAUSEWAY_RECORD_NOT_FOUND",
      `no agent ${shortName(id)} is registered or visible from here; try: causeway discover`,
    );
  return found;
}

/** `/green.example/travel/hotels/.well-known/agent-card.json` into the agent and the rest. */
function splitPath(path: string): { readonly agentId: string; readonly rest: string } | undefined {
  const match = /^\/(.+?)(\/(?:\.well-known\/(?:original-)?agent-card\.json|jsonrpc|rest(?:\/.*)?))$/.exec(path);
  const [, name, rest] = match ?? [];
  if (name === undefined || rest === undefined) return undefined;
  return { agentId: parseAgentId(decodeURIComponent(name)), rest };
}

/** Only programs of this machine, and no web page that a browser of this machine shows. */
const guardLocal: RequestHandler = (request, response, next) => {
  const host = URL.parse(`http://${request.headers.host ?? ""}`)?.hostname ?? "";
  const origin = request.headers.origin === undefined ? undefined : URL.parse(request.headers.origin)?.hostname;
  if (isLoopback(host) && (request.headers.origin === undefined || (origin !== undefined && isLoopback(origin)))) {
    next();
    return;
  }
  refuseHttp(
    response,
    refuse("CAUSEWAY_FORWARDING_NOT_ALLOWED", "the A2A endpoint serves programs of this machine only"),
  );
};

const httpStatus: Readonly<Record<string, number>> = {
  NOT_FOUND: 404,
  PERMISSION_DENIED: 403,
  UNAUTHENTICATED: 401,
  INVALID_ARGUMENT: 400,
  RESOURCE_EXHAUSTED: 429,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
};

function refuseHttp(response: Response, thrown: unknown): void {
  const error = CausewayError.from(thrown);
  if (error.code === "CAUSEWAY_BRIDGE_TOKEN_INVALID") response.setHeader("www-authenticate", "Bearer");
  response
    .status(httpStatus[error.status] ?? 500)
    .type("application/problem+json")
    .send(JSON.stringify({ title: error.message, code: error.code, details: error.details }));
}

function listen(server: Server<typeof IncomingMessage>, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === "EADDRINUSE"
          ? refuse("CAUSEWAY_PORT_IN_USE", `port ${port} of ${host} is in use; choose another one with --listen`, {
              cause,
            })
          : refuse("CAUSEWAY_UNREACHABLE", `cannot listen on ${host}:${port}: ${cause.message}`, { cause }),
      );
    });
    server.listen(port, host, resolve);
  });
}
