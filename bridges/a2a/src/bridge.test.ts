/** The official A2A server and client, unmodified, on the outer sides of the bridge; the network between them in memory. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { AGENT_CARD_PATH, AgentCard, type Message, Role, type Task, TaskState } from "@a2a-js/sdk";
import { type Client, ClientFactory } from "@a2a-js/sdk/client";
import { TaskNotFoundError } from "@a2a-js/sdk/errors";
import { DefaultRequestHandler, InMemoryTaskStore } from "@a2a-js/sdk/server";
import { agentCardHandler, jsonRpcHandler, restHandler, UserBuilder } from "@a2a-js/sdk/server/express";
import { type TestAgent, TestNetwork } from "@causeway/agent/testing";
import { parseAgentId } from "@causeway/core-base";
import express from "express";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HotelExecutor } from "../../../examples/a2a-hotel-agent/src/hotels.ts";
import { type A2aEndpoint, attachA2aAgent, networkExtension, openA2aEndpoint, openUpstream } from "./index.ts";

const hotelName = "green.example/travel/hotels";
let network: TestNetwork;
let pump: NodeJS.Timeout;
let server: Server;
let hotelUrl: string;
let hotels: TestAgent;
let alice: TestAgent;
let mallory: TestAgent;
let endpoint: A2aEndpoint;

const cardOf = (url: string, face = `${url}/jsonrpc`): AgentCard =>
  AgentCard.fromJSON({
    name: "Hotel desk",
    description: "Books rooms",
    version: "1.0.0",
    supportedInterfaces: [
      { url: face, protocolBinding: "JSONRPC", protocolVersion: "1.0" },
      { url: `${url}/rest`, protocolBinding: "HTTP+JSON", protocolVersion: "1.0" },
    ],
    capabilities: { streaming: true },
    defaultInputModes: ["text/plain"],
    defaultOutputModes: ["text/plain"],
    skills: [{ id: "book-hotel", name: "Book", description: "Books a hotel room", tags: ["travel"] }],
    signatures: [{ protected: "eyJhbGciOiJFUzI1NiJ9", signature: "c2lnbmF0dXJl" }],
  });

async function listen(app: express.Express): Promise<{ server: Server; url: string }> {
  const http = createServer(app);
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { server: http, url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` };
}

beforeAll(async () => {
  network = new TestNetwork();
  const app = express();
  ({ server, url: hotelUrl } = await listen(app));
  const requestHandler = new DefaultRequestHandler(cardOf(hotelUrl), new InMemoryTaskStore(), new HotelExecutor());
  app.use(`/${AGENT_CARD_PATH}`, agentCardHandler({ agentCardProvider: requestHandler }));
  app.use("/jsonrpc", jsonRpcHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
  app.use("/rest", restHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
  hotels = await network.connect(hotelName);
  alice = await network.connect("blue.example/people/alice");
  mallory = await network.connect("blue.example/people/mallory");
  // The network's clock belongs to the test; HTTP needs it to run.
  pump = setInterval(() => void network.clock.advance(5), 5);
  await attachA2aAgent(hotels, await openUpstream(hotelUrl));
  endpoint = await openA2aEndpoint(alice, { port: 0 });
});

afterAll(async () => {
  await endpoint?.[Symbol.asyncDispose]();
  server?.closeAllConnections();
  server?.close();
  clearInterval(pump);
});

function ask(text: string): { message: Message; tenant: string; configuration: undefined; metadata: undefined } {
  return {
    message: {
      messageId: randomUUID(),
      contextId: "",
      taskId: "",
      role: Role.ROLE_USER,
      parts: [{ content: { $case: "text", value: text }, metadata: undefined, filename: "", mediaType: "text/plain" }],
      metadata: undefined,
      extensions: [],
      referenceTaskIds: [],
    },
    tenant: "",
    configuration: undefined,
    metadata: undefined,
  };
}

const clientFor = (binding: string): Promise<Client> =>
  new ClientFactory({ ...new ClientFactory().options, preferredTransports: [binding] }).createFromUrl(
    endpoint.urlOf(hotelName),
  );

const asTask = (result: Message | Task): Task => {
  if ("messageId" in result) throw new Error("expected a task, got a message");
  return result;
};

const stateOf = (task: Task): string => (task.status === undefined ? "none" : TaskState[task.status.state]);

describe.for(["JSONRPC", "HTTP+JSON"])("an unmodified A2A client over %s", (binding) => {
  test("sends a message and gets the finished task with its artifact", async () => {
    const client = await clientFor(binding);
    const task = asTask(await client.sendMessage(ask("A room in Tokyo")));
    expect(stateOf(task)).toBe("TASK_STATE_COMPLETED");
    expect(task.artifacts[0]?.parts[0]?.content).toEqual({
      $case: "text",
      value: "Booked: Shinjuku Garden in tokyo, 140 a night.",
    });
    expect(stateOf(await client.getTask({ id: task.id, tenant: "" }))).toBe("TASK_STATE_COMPLETED");
  });

  test("streams every event in order", async () => {
    const client = await clientFor(binding);
    const kinds: string[] = [];
    for await (const event of client.sendMessageStream(ask("A room in Paris"))) kinds.push(event.payload?.$case ?? "");
    expect(kinds).toEqual(["task", "statusUpdate", "artifactUpdate", "statusUpdate"]);
  });

  test("cancels a task that runs", async () => {
    const client = await clientFor(binding);
    for await (const event of client.sendMessageStream(ask("waitlist for Lisbon"))) {
      const id = event.payload?.$case === "statusUpdate" ? event.payload.value.taskId : undefined;
      if (id === undefined) continue;
      expect(stateOf(await client.cancelTask({ id, tenant: "", metadata: undefined }))).toBe("TASK_STATE_CANCELED");
      break;
    }
  });

  test("sees the remote agent's own error", async () => {
    const client = await clientFor(binding);
    await expect(client.getTask({ id: "no-such-task", tenant: "" })).rejects.toBeInstanceOf(TaskNotFoundError);
  });
});

describe("what belongs to whom", () => {
  test("another agent of the network neither sees nor cancels a task that it did not start", async () => {
    const client = await clientFor("JSONRPC");
    const task = asTask(await client.sendMessage(ask("A room in Tokyo")));
    await using other = await openA2aEndpoint(mallory, { port: 0 });
    const thief = await new ClientFactory().createFromUrl(other.urlOf(hotelName));
    await expect(thief.getTask({ id: task.id, tenant: "" })).rejects.toBeInstanceOf(TaskNotFoundError);
    await expect(thief.cancelTask({ id: task.id, tenant: "", metadata: undefined })).rejects.toBeInstanceOf(
      TaskNotFoundError,
    );
    const listed = await thief.listTasks({
      tenant: "",
      contextId: "",
      status: TaskState.TASK_STATE_UNSPECIFIED,
      pageSize: 50,
      pageToken: "",
      historyLength: undefined,
      statusTimestampAfter: undefined,
      includeArtifacts: undefined,
    });
    expect(listed.tasks).toEqual([]);
  });

  test("another agent cannot join a conversation by naming its task or context", async () => {
    const client = await clientFor("JSONRPC");
    await using other = await openA2aEndpoint(mallory, { port: 0 });
    const thief = await new ClientFactory().createFromUrl(other.urlOf(hotelName));
    const say = (names: Partial<Message>) => {
      const request = ask("A room in Tokyo");
      return { ...request, message: { ...request.message, ...names } };
    };
    for await (const event of client.sendMessageStream(ask("waitlist for Lisbon"))) {
      if (event.payload?.$case !== "statusUpdate") continue;
      const { taskId, contextId } = event.payload.value;
      for (const names of [{ taskId }, { contextId }, { taskId, contextId }, { referenceTaskIds: [taskId] }]) {
        await expect(thief.sendMessage(say(names))).rejects.toBeInstanceOf(TaskNotFoundError);
        const stream = thief.sendMessageStream(say(names));
        await expect(stream.next()).rejects.toBeInstanceOf(TaskNotFoundError);
      }
      expect(asTask(await client.sendMessage(say({ contextId }))).contextId).toBe(contextId);
      await client.cancelTask({ id: taskId, tenant: "", metadata: undefined });
      break;
    }
  });

  test("the record holds the card byte for byte; the endpoint's card has its own URLs and no signature [AMSP-15]", async () => {
    const served = new Uint8Array(await (await fetch(`${hotelUrl}/${AGENT_CARD_PATH}`)).arrayBuffer());
    const original = new Uint8Array(
      await (await fetch(`${endpoint.urlOf(hotelName)}.well-known/original-agent-card.json`)).arrayBuffer(),
    );
    expect(original).toEqual(served);
    const card = AgentCard.fromJSON(await (await fetch(`${endpoint.urlOf(hotelName)}${AGENT_CARD_PATH}`)).json());
    expect(card.signatures).toEqual([]);
    for (const face of card.supportedInterfaces) expect(face.url.startsWith(endpoint.urlOf(hotelName))).toBe(true);
    const extension = card.capabilities?.extensions.find(({ uri }) => uri === networkExtension);
    expect(extension?.params?.["agentId"]).toBe(parseAgentId(hotelName));
  });
});

describe("bad input", () => {
  const status = async (path: string, init?: RequestInit) => (await fetch(`${endpoint.url}${path}`, init)).status;

  test("unknown agents, malformed names and foreign pages are refused with a status and a code", async () => {
    expect(await status(`/agents/green.example/no/body/${AGENT_CARD_PATH}`)).toBe(404);
    expect(await status("/agents/nonsense")).toBe(400);
    expect(await status(`/agents/green.example/%00/x/${AGENT_CARD_PATH}`)).toBe(400);
    const problem = await fetch(`${endpoint.url}/agents/${hotelName}/${AGENT_CARD_PATH}`, {
      headers: { origin: "https://evil.example" },
    });
    expect(problem.status).toBe(403);
    expect(await problem.json()).toMatchObject({ code: "CAUSEWAY_FORWARDING_NOT_ALLOWED" });
  });

  test("an endpoint on another interface than loopback is refused [AGP-55]", async () => {
    await expect(openA2aEndpoint(alice, { host: "0.0.0.0", port: 0 })).rejects.toMatchObject({
      code: "CAUSEWAY_UNSUPPORTED",
    });
  });

  test("a program of another Unix user is refused, one of the same is served", async ({ skip }) => {
    const path = `${endpoint.url}/agents/${hotelName}/${AGENT_CARD_PATH}`;
    expect((await fetch(path)).status).toBe(200);
    if (process.getuid?.() !== 0) return skip("only root starts programs of another user");
    const nobody = 65_534;
    const script =
      "import sys,urllib.request,urllib.error\ntry: print(urllib.request.urlopen(sys.argv[1]).status)\nexcept urllib.error.HTTPError as e: print(e.code, e.read().decode())";
    const asUser = (uid: number): Promise<string> =>
      new Promise((resolve, reject) => {
        execFile("/usr/bin/python3", ["-c", script, path], { uid, gid: uid, cwd: "/" }, (error, stdout) =>
          error === null ? resolve(stdout) : reject(error),
        );
      });
    if (!existsSync("/usr/bin/python3")) return skip("there is no python3 in /usr/bin");
    expect(await asUser(0)).toBe("200\n");
    expect(await asUser(nobody)).toMatch(/^403 .*CAUSEWAY_FORWARDING_NOT_ALLOWED/);
  });

  test("with a token it serves whoever sends that, and its card says so", async () => {
    const token = "a".repeat(40);
    await using guarded = await openA2aEndpoint(alice, { port: 0, access: { token } });
    const card = `${guarded.urlOf(hotelName)}${AGENT_CARD_PATH}`;
    const ask = (authorization?: string) =>
      fetch(card, authorization === undefined ? {} : { headers: { authorization } });
    for (const wrong of [undefined, "Bearer", `Bearer ${token}x`, `Basic ${token}`]) {
      const answer = await ask(wrong);
      expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
      expect(await answer.json()).toMatchObject({ code: "CAUSEWAY_BRIDGE_TOKEN_INVALID" });
    }
    const served = await ask(`Bearer ${token}`);
    expect(await served.json()).toMatchObject({
      securitySchemes: { endpoint: { httpAuthSecurityScheme: { scheme: "Bearer" } } },
      securityRequirements: [{ schemes: { endpoint: {} } }],
    });
    await expect(openA2aEndpoint(alice, { port: 0, access: { token: "short" } })).rejects.toMatchObject({
      code: "CAUSEWAY_CONFIG_INVALID",
    });
  });

  test("a card that names addresses of an inner network is registered only when that is wanted [AAP-24]", async () => {
    const app = express();
    const { server: other, url } = await listen(app);
    const card = { ...cardOf(url), documentationUrl: "https://wiki.corp.internal/desk" };
    app.get(`/${AGENT_CARD_PATH}`, (_request, response) => void response.json(AgentCard.toJSON(card)));
    const desk = await network.connect("green.example/travel/desk");
    const upstream = await openUpstream(url);
    expect(upstream.innerUrls.inner).toEqual(["https://wiki.corp.internal/desk"]);
    expect(upstream.innerUrls.loopback).toEqual([`${url}/jsonrpc`, `${url}/rest`]);
    await expect(attachA2aAgent(desk, upstream)).rejects.toMatchObject({
      code: "CAUSEWAY_RECORD_INNER_URL",
      message: expect.stringContaining("https://wiki.corp.internal/desk"),
    });
    expect(await alice.lookup("green.example/travel/desk")).toBeUndefined();
    await attachA2aAgent(desk, upstream, { innerUrls: true });
    expect((await alice.lookup("green.example/travel/desk"))?.agentId).toBe(desk.id);
    other.closeAllConnections();
    other.close();
  });

  test("a port in use is refused with its code", async () => {
    await expect(openA2aEndpoint(alice, { port: Number(new URL(endpoint.url).port) })).rejects.toMatchObject({
      code: "CAUSEWAY_PORT_IN_USE",
    });
  });

  test("plain HTTP to another machine, nobody at the URL, and no URL are refused before anything is sent", async () => {
    await expect(openUpstream("http://agents.example")).rejects.toMatchObject({ code: "CAUSEWAY_UNSUPPORTED" });
    await expect(openUpstream("http://127.0.0.1:1")).rejects.toMatchObject({ code: "CAUSEWAY_UNREACHABLE" });
    await expect(openUpstream("not a url")).rejects.toMatchObject({ code: "CAUSEWAY_NAME_INVALID" });
  });

  test("a card that points at a third party, is no card, or is too large is refused", async () => {
    const app = express();
    const { server: other, url } = await listen(app);
    let body = "";
    app.get(`/${AGENT_CARD_PATH}`, (_request, response) => void response.type("json").send(body));
    body = JSON.stringify(
      AgentCard.toJSON({
        ...cardOf(url, "http://10.0.0.1/jsonrpc"),
        supportedInterfaces: [
          { url: "http://10.0.0.1/jsonrpc", protocolBinding: "JSONRPC", protocolVersion: "1.0", tenant: "" },
        ],
      }),
    );
    await expect(openUpstream(url)).rejects.toMatchObject({ code: "CAUSEWAY_UNSUPPORTED" });
    body = "[]";
    await expect(openUpstream(url)).rejects.toMatchObject({ family: "refused" });
    body = JSON.stringify({ name: "x".repeat(20_000) });
    await expect(openUpstream(url)).rejects.toMatchObject({ code: "CAUSEWAY_RECORD_TOO_LARGE" });
    other.closeAllConnections();
    other.close();
  });
});
