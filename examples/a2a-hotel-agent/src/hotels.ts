/** Books hotel rooms from a small catalogue: a task with progress, an artifact and a final state; can be cancelled. */
import { randomUUID } from "node:crypto";
import { type Message, type Part, Role, TaskState } from "@a2a-js/sdk";
import { AgentEvent, type AgentExecutor, type ExecutionEventBus, type RequestContext } from "@a2a-js/sdk/server";

const rooms: Readonly<Record<string, { readonly hotel: string; readonly pricePerNight: number }>> = {
  tokyo: { hotel: "Shinjuku Garden", pricePerNight: 140 },
  paris: { hotel: "Rive Gauche", pricePerNight: 190 },
  lisbon: { hotel: "Miradouro", pricePerNight: 95 },
};

/** A request with this word takes long, so that it can be cancelled. */
const slowWord = "waitlist";
const slowMs = 60_000;

export class HotelExecutor implements AgentExecutor {
  readonly #running = new Map<string, () => void>();

  async execute(request: RequestContext, bus: ExecutionEventBus): Promise<void> {
    const { taskId, contextId, userMessage } = request;
    const wish = textOf(userMessage);
    const status = (state: TaskState, text: string) => ({
      state,
      message: agentMessage(taskId, contextId, text),
      timestamp: new Date().toISOString(),
    });
    bus.publish(
      AgentEvent.task({
        id: taskId,
        contextId,
        status: status(TaskState.TASK_STATE_SUBMITTED, "The request came in."),
        artifacts: [],
        history: [userMessage],
        metadata: undefined,
      }),
    );
    const update = (state: TaskState, text: string) =>
      bus.publish(AgentEvent.statusUpdate({ taskId, contextId, status: status(state, text), metadata: undefined }));
    update(TaskState.TASK_STATE_WORKING, "Looking for a room.");
    if (wish.includes(slowWord) && (await this.#waitOrCancel(taskId))) {
      update(TaskState.TASK_STATE_CANCELED, "Cancelled on request.");
      bus.finished();
      return;
    }
    const city = Object.keys(rooms).find((name) => wish.includes(name));
    const room = city === undefined ? undefined : rooms[city];
    if (city === undefined || room === undefined) {
      update(TaskState.TASK_STATE_FAILED, `No room: I know ${Object.keys(rooms).join(", ")}.`);
    } else {
      bus.publish(
        AgentEvent.artifactUpdate({
          taskId,
          contextId,
          artifact: {
            artifactId: "booking",
            name: "booking",
            description: "The booked room",
            parts: [textPart(`Booked: ${room.hotel} in ${city}, ${room.pricePerNight} a night.`)],
            metadata: undefined,
            extensions: [],
          },
          append: false,
          lastChunk: true,
          metadata: undefined,
        }),
      );
      update(TaskState.TASK_STATE_COMPLETED, `Done: ${room.hotel}.`);
    }
    bus.finished();
  }

  async cancelTask(taskId: string): Promise<void> {
    this.#running.get(taskId)?.();
  }

  /** True when it was cancelled before the time was over. */
  #waitOrCancel(taskId: string): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => finish(false), slowMs);
      const finish = (isCancelled: boolean) => {
        clearTimeout(timer);
        this.#running.delete(taskId);
        resolve(isCancelled);
      };
      this.#running.set(taskId, () => finish(true));
    });
  }
}

function textOf(message: Message): string {
  return message.parts
    .map((part) => (part.content?.$case === "text" ? part.content.value : ""))
    .join(" ")
    .toLowerCase();
}

function textPart(text: string): Part {
  return { content: { $case: "text", value: text }, metadata: undefined, filename: "", mediaType: "text/plain" };
}

function agentMessage(taskId: string, contextId: string, text: string): Message {
  return {
    messageId: randomUUID(),
    contextId,
    taskId,
    role: Role.ROLE_AGENT,
    parts: [textPart(text)],
    metadata: undefined,
    extensions: [],
    referenceTaskIds: [],
  };
}
