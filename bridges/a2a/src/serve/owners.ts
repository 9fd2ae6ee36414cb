/**
 * Which agent of the network started which task and conversation at the A2A agent behind the bridge. That agent sees one
 * client, the bridge, so nobody but the bridge can keep its callers apart.
 */
import type { Message, SendMessageRequest, StreamResponse, Task } from "@a2a-js/sdk";
import { TaskNotFoundError } from "@a2a-js/sdk/errors";

/** Tasks and contexts whose owner is remembered, each; the oldest are forgotten first. */
const rememberedMax = 10_000;

/** Keeps the callers of one A2A agent apart. */
export class Owners {
  readonly #tasks = new Map<string, string>();
  readonly #contexts = new Map<string, string>();

  /** Claims what an answer names first. */
  note(answer: Message | Task, owner: string): void {
    if (!("messageId" in answer)) claim(this.#tasks, answer.id, owner);
    claim(this.#contexts, answer.contextId, owner);
  }

  /** True when the task was started by this caller. */
  owns(taskId: string, caller: string): boolean {
    return this.#tasks.get(taskId) === caller;
  }

  /** Throws TaskNotFound for a foreign task as for one that does not exist: the answer tells nothing. */
  check(taskId: string, caller: string): void {
    if (!this.owns(taskId, caller)) throw notKnown(taskId);
  }

  /** The same for whatever a message continues or refers to. A context that nobody has used belongs to its first user. */
  checkMessage({ message }: SendMessageRequest, caller: string): void {
    if (message === undefined) return;
    const { taskId, contextId, referenceTaskIds } = message;
    for (const id of [taskId, ...referenceTaskIds]) if (id !== "") this.check(id, caller);
    const owner = this.#contexts.get(contextId);
    if (owner !== undefined && owner !== caller) throw notKnown(contextId);
    claim(this.#contexts, contextId, caller);
  }

  /** Passes a stream on and claims what it names first. */
  async *watch(stream: AsyncIterable<StreamResponse>, owner: string): AsyncGenerator<StreamResponse> {
    for await (const event of stream) {
      const { payload } = event;
      if (payload?.$case === "task" || payload?.$case === "message") this.note(payload.value, owner);
      else if (payload !== undefined) {
        claim(this.#tasks, payload.value.taskId, owner);
        claim(this.#contexts, payload.value.contextId, owner);
      }
      yield event;
    }
  }
}

function claim(owners: Map<string, string>, id: string, owner: string): void {
  if (id === "" || owners.has(id)) return;
  owners.set(id, owner);
  const oldest = owners.keys().next().value;
  if (owners.size > rememberedMax && oldest !== undefined) owners.delete(oldest);
}

const notKnown = (id: string): Error => new TaskNotFoundError(`task ${id} is not known`);
