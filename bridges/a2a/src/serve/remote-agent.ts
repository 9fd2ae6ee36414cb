/** A remote agent behind the SDK's request handler interface: each A2A operation becomes a request on the network. */
import type {
  AgentCard,
  CancelTaskRequest,
  GetTaskRequest,
  JsonInput,
  ListTasksRequest,
  ListTasksResponse,
  Message,
  SendMessageRequest,
  StreamResponse,
  SubscribeToTaskRequest,
  Task,
} from "@a2a-js/sdk";
import {
  ExtendedAgentCardNotConfiguredError,
  InvalidAgentResponseError,
  PushNotificationNotSupportedError,
} from "@a2a-js/sdk/errors";
import type { A2ARequestHandler } from "@a2a-js/sdk/server";
import type { Agent, Json } from "@causeway/agent";
import { type Operation, operations } from "../translate/operations.ts";
import { asA2aError, resultOf } from "../translate/outcome.ts";

/** How long a request or a whole stream may take. */
const callMs = 300_000;

export class RemoteAgentHandler implements A2ARequestHandler {
  readonly #agent: Agent;
  readonly #target: string;
  readonly #card: AgentCard;

  constructor(agent: Agent, target: string, card: AgentCard) {
    this.#agent = agent;
    this.#target = target;
    this.#card = card;
  }

  async getAgentCard(): Promise<AgentCard> {
    return this.#card;
  }

  async getAuthenticatedExtendedAgentCard(): Promise<AgentCard> {
    throw new ExtendedAgentCardNotConfiguredError();
  }

  async sendMessage(params: SendMessageRequest): Promise<Message | Task> {
    const { payload } = await this.#call(operations.sendMessage, params);
    if (payload === undefined)
      throw new InvalidAgentResponseError("the remote agent answered with neither a message nor a task");
    return payload.value;
  }

  sendMessageStream(params: SendMessageRequest): AsyncGenerator<StreamResponse, void, undefined> {
    return this.#stream(operations.sendMessageStream, params);
  }

  getTask(params: GetTaskRequest): Promise<Task> {
    return this.#call(operations.getTask, params);
  }

  cancelTask(params: CancelTaskRequest): Promise<Task> {
    return this.#call(operations.cancelTask, params);
  }

  listTasks(params: ListTasksRequest): Promise<ListTasksResponse> {
    return this.#call(operations.listTasks, params);
  }

  resubscribe(params: SubscribeToTaskRequest): AsyncGenerator<StreamResponse, void, undefined> {
    return this.#stream(operations.resubscribe, params);
  }

  async createTaskPushNotificationConfig(): Promise<never> {
    throw new PushNotificationNotSupportedError();
  }

  async getTaskPushNotificationConfig(): Promise<never> {
    throw new PushNotificationNotSupportedError();
  }

  async listTaskPushNotificationConfigs(): Promise<never> {
    throw new PushNotificationNotSupportedError();
  }

  async deleteTaskPushNotificationConfig(): Promise<never> {
    throw new PushNotificationNotSupportedError();
  }

  async #call<In, Out>(operation: Operation<In, Out>, input: In): Promise<Out> {
    try {
      const answer = await this.#agent.request(this.#target, ask(operation, input), { timeoutMs: callMs });
      return operation.output.fromJSON(resultOf(answer.data) as JsonInput);
    } catch (thrown) {
      throw asA2aError(thrown);
    }
  }

  async *#stream<In, Out>(operation: Operation<In, Out>, input: In): AsyncGenerator<Out, void, undefined> {
    try {
      for await (const part of this.#agent.stream(this.#target, ask(operation, input), { timeoutMs: callMs })) {
        yield operation.output.fromJSON(resultOf(part.data) as JsonInput);
      }
    } catch (thrown) {
      throw asA2aError(thrown);
    }
  }
}

function ask<In, Out>(operation: Operation<In, Out>, input: In) {
  return { method: operation.method, data: operation.input.toJSON(input) as Json };
}
