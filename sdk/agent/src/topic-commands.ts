/**
 * Topics at gateways, which know their names and policies (AGP-12). Those of this agent are kept by its own gateway; of
 * those of another one, the gateway that serves it is asked.
 */
import { type AgentId, agentOf, parseSpiffeId, shortName } from "@causeway/core-base";
import type { agp } from "@causeway/core-wire";
import type { CallOptions, TopicDescription } from "./api.ts";
import type { At, Attachments } from "./attachments.ts";
import type { DeliveryService } from "./delivery-service.ts";
import { timeoutOf } from "./exchange/limits.ts";
import { errorOf } from "./session/messages.ts";
import { rightsOf } from "./topic-rights.ts";

/** What is asked or told of topics. */
type Command = NonNullable<Parameters<DeliveryService["askTopics"]>[1]>;

export class TopicCommands {
  readonly #self: AgentId;
  readonly #session: Attachments;
  readonly #delivery: DeliveryService;

  constructor(self: AgentId, link: Attachments, delivery: DeliveryService) {
    this.#self = self;
    this.#session = link;
    this.#delivery = delivery;
  }

  /** `at`: where the topic is to be known; every gateway of an agent keeps its topics. */
  async announce(topic: string, policy: agp.TopicPolicy, options: CallOptions, at: At): Promise<void> {
    await this.#tell({ case: "create", value: { topic, policy } }, `the gateway to create ${topic}`, options, at);
  }

  async erase(topic: string, options: CallOptions): Promise<void> {
    await this.#tell({ case: "delete", value: { topic } }, `the gateway to delete ${topic}`, options, "each");
  }

  async describe(topic: string, owner: AgentId, options: CallOptions): Promise<TopicDescription> {
    const [found] = await this.#ask(owner, { case: "describe", value: { topic } }, options);
    if (found === undefined) throw errorOf(undefined, "CAUSEWAY_TOPIC_NOT_FOUND");
    return descriptionOf(found);
  }

  /** Topics of `owner` whose names lie below `prefix`, with their policies. */
  async list(prefix: string, owner: AgentId, options: CallOptions): Promise<readonly agp.TopicInfo[]> {
    const found = await this.#ask(owner, { case: "list", value: { prefix } }, options);
    return found.filter((each) => each.owner === owner);
  }

  #ask(owner: AgentId, command: Command, options: CallOptions): Promise<readonly agp.TopicInfo[]> {
    if (owner !== this.#self) return this.#delivery.askTopics(owner, command);
    return this.#tell(command, `the gateway to tell of topics of ${shortName(owner)}`, options);
  }

  async #tell(command: Command, expected: string, options: CallOptions, at?: At): Promise<readonly agp.TopicInfo[]> {
    const answer = await this.#session.call((request) => ({ case: "topicCommand", value: { request, command } }), {
      at,
      timeoutMs: timeoutOf(options),
      signal: options.signal,
      expected,
    });
    if (answer.case !== "topicResult") return [];
    if (answer.value.error) throw errorOf(answer.value.error, "CAUSEWAY_INTERNAL");
    return answer.value.topics;
  }
}

export function descriptionOf({ topic, owner, policy, createdUnixMs }: agp.TopicInfo): TopicDescription {
  return {
    topic,
    owner: agentOf(parseSpiffeId(owner)),
    rights: rightsOf(policy),
    createdUnixMs: Number(createdUnixMs),
  };
}
