/** Takes a running A2A agent onto the network: its card becomes the record, its operations become request handlers. */
import type { JsonInput, Message, Task } from "@a2a-js/sdk";
import type { Agent, IncomingRequest, Json, Registration } from "@causeway/agent";

import { refuse } from "@causeway/core-base";
import { type Operation, operations } from "../translate/operations.ts";
import { errorOutcome, type Outcome } from "../translate/outcome.ts";
import { Owners } from "./owners.ts";
import type { Upstream } from "./upstream.ts";

/** An A2A agent on the network. */
export interface AttachedA2aAgent extends AsyncDisposable {
  readonly registration: Registration;
}

export interface AttachOptions {
  /** BCP 47 codes. Default `["en"]`, since a card does not say. */
  readonly languages?: readonly string[];
  readonly tags?: readonly string[];
  /** Registers a card with URLs of an inner network as it is; otherwise it is refused. Default false. */
  readonly innerUrls?: boolean;
}

/**
 * Handles the A2A operations for `agent` with `upstream` and registers the upstream card. Throws
 * CAUSEWAY_RECORD_INNER_URL for a card that tells others how the network behind it is built (AAP-24).
 */
export async function attachA2aAgent(
  agent: Agent,
  upstream: Upstream,
  options: AttachOptions = {},
): Promise<AttachedA2aAgent> {
  const { inner } = upstream.innerUrls;
  if (inner.length > 0 && options.innerUrls !== true) {
    throw refuse(
      "CAUSEWAY_RECORD_INNER_URL",
      `expected a card without addresses of an inner network, got ${inner.slice(0, shownMax).join(", ")} in that of ${upstream.url}; everybody who finds the agent reads it: have the card name what others may know, or register it as it is with --inner-urls`,
    );
  }
  const owners = new Owners();
  const { client } = upstream;
  const stops = [
    unary(agent, operations.sendMessage, async (input, request) => {
      owners.checkMessage(input, request.from);
      const result = await client.transport.sendMessage(input, callOptions(request));
      owners.note(result, request.from);
      return {
        payload: isTask(result)
          ? { $case: "task" as const, value: result }
          : { $case: "message" as const, value: result },
      };
    }),
    streaming(agent, operations.sendMessageStream, (input, request) => {
      owners.checkMessage(input, request.from);
      return owners.watch(client.transport.sendMessageStream(input, callOptions(request)), request.from);
    }),
    unary(agent, operations.getTask, (input, request) => {
      owners.check(input.id, request.from);
      return client.transport.getTask(input, callOptions(request));
    }),
    unary(agent, operations.cancelTask, (input, request) => {
      owners.check(input.id, request.from);
      return client.transport.cancelTask(input, callOptions(request));
    }),
    unary(agent, operations.listTasks, async (input, request) => {
      const listed = await client.transport.listTasks(input, callOptions(request));
      const tasks = listed.tasks.filter((task) => owners.owns(task.id, request.from));
      return { ...listed, tasks, totalSize: tasks.length };
    }),
    streaming(agent, operations.resubscribe, (input, request) => {
      owners.check(input.id, request.from);
      return client.transport.resubscribeTask(input, callOptions(request));
    }),
  ];
  const registration = await agent.register({
    card: upstream.cardBytes,
    protocols: ["a2a/1.0"],
    languages: options.languages ?? ["en"],
    ...(options.tags && { tags: options.tags }),
  });
  return {
    registration,
    async [Symbol.asyncDispose]() {
      for (const stop of stops) stop();
    },
  };
}

/** URLs that an error names. */
const shownMax = 3;

function unary<In, Out>(
  agent: Agent,
  operation: Operation<In, Out>,
  run: (input: In, request: IncomingRequest) => Promise<Out>,
): () => void {
  return agent.onRequest(operation.method, async (request) => {
    try {
      return asJson({ ok: operation.output.toJSON(await run(inputOf(operation, request), request)) });
    } catch (thrown) {
      return outcomeOrThrow(thrown);
    }
  });
}

function streaming<In, Out>(
  agent: Agent,
  operation: Operation<In, Out>,
  run: (input: In, request: IncomingRequest) => AsyncIterable<Out>,
): () => void {
  return agent.onRequest(operation.method, async function* (request) {
    try {
      for await (const event of run(inputOf(operation, request), request)) {
        yield asJson({ ok: operation.output.toJSON(event) });
      }
    } catch (thrown) {
      yield outcomeOrThrow(thrown);
    }
  });
}

function inputOf<In, Out>(operation: Operation<In, Out>, request: IncomingRequest): In {
  return operation.input.fromJSON(request.data as JsonInput);
}

function outcomeOrThrow(thrown: unknown): Json {
  const outcome = errorOutcome(thrown);
  if (outcome === undefined) throw thrown;
  return asJson(outcome);
}

/** The codecs answer `unknown` for what is JSON by construction. */
function asJson(outcome: Outcome): Json {
  return outcome as Json;
}

function callOptions(request: IncomingRequest) {
  return { signal: request.signal, serviceParameters: { "A2A-Version": "1.0" } };
}

function isTask(result: Message | Task): result is Task {
  return !("messageId" in result);
}
