/**
 * The delivery service of RFC 9750 as this agent reaches it: key packages, the order of commits and missed handshakes,
 * asked for in Control frames that gateways route to the serving gateway of the agent concerned (AGP-60).
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type AgentId,
  CausewayError,
  defaults,
  isPrefixOf,
  parseSpiffeId,
  refuse,
  type SpiffeId,
} from "@causeway/core-base";
import { agp, encodeFrame, newMessageId } from "@causeway/core-wire";
import { toHex } from "./bytes.ts";
import { within } from "./clock.ts";
import type { Connector } from "./connector.ts";
import type { DeliveryPort, FetchedKeyPackage } from "./end-to-end.ts";
import type { Target } from "./sealed-sender.ts";
import { errorOf } from "./session/messages.ts";

type ControlBody = Exclude<agp.Control["body"], { case: undefined }>;
type ControlInit = Extract<Parameters<typeof encodeFrame>[0], { case: "control" }>["value"]["body"];

type TopicQuestion = NonNullable<MessageInitShape<typeof agp.TopicCommandSchema>["command"]>;

interface Pending {
  readonly resolve: (body: ControlBody) => void;
  readonly reject: (error: CausewayError) => void;
}

/** The link as the delivery service uses it. */
export interface DeliveryLink {
  /** Puts a frame on the way to its target, or to the gateway without one. */
  transmit(frame: Uint8Array, to?: Target): Promise<unknown>;
  /** Keeps reading from the link while `work` waits. */
  awaiting<T>(work: () => Promise<T>): Promise<T>;
  /** False while messages with an agent pass no gateway. */
  isOrdered(peer: AgentId): boolean;
}

export class DeliveryService implements DeliveryPort {
  readonly #connector: Connector;
  readonly #link: DeliveryLink;
  readonly #source: SpiffeId;
  readonly #pending = new Map<string, Pending>();

  /** `source` is this agent, with its instance when it has a name. */
  constructor(connector: Connector, source: SpiffeId, link: DeliveryLink) {
    this.#connector = connector;
    this.#source = source;
    this.#link = link;
  }

  async fetchKeyPackage(agent: SpiffeId, suite: number): Promise<FetchedKeyPackage> {
    const question = { case: "keyPackageFetch", value: { suite } } as const;
    // Where messages to the agent pass no gateway, it hands out its packages itself.
    const body = await this.#ask(agent, question, agp.TargetKind.AGENT, { kind: "agent", name: agent });
    if (body.case !== "keyPackageResult") throw unexpected("a key package", body.case);
    const { keyPackage, lastResort, error, owner } = body.value;
    if (error || keyPackage.length === 0) throw errorOf(error, "CAUSEWAY_E2EE_NO_KEY_PACKAGE");
    return { keyPackage, lastResort, ...(owner !== "" && { owner: parseSpiffeId(owner) }) };
  }

  /** Any one agent below a prefix of whole segments, as the gateways choose it (AAP-69). */
  async anyOf(prefix: string): Promise<SpiffeId> {
    const body = await this.#ask(prefix, { case: "keyPackageFetch", value: { nameOnly: true } }, agp.TargetKind.PREFIX);
    if (body.case !== "keyPackageResult") throw unexpected("the name of an agent", body.case);
    if (body.value.error || body.value.owner === "") throw errorOf(body.value.error, "CAUSEWAY_FORWARDING_NO_ROUTE");
    const owner = parseSpiffeId(body.value.owner);
    if (isPrefixOf(prefix, owner)) return owner;
    throw refuse("CAUSEWAY_FRAME_UNEXPECTED", `expected an agent below ${prefix}, got ${owner}`);
  }

  async submitCommit(
    owner: AgentId,
    groupId: Uint8Array,
    epoch: bigint,
    commit: Uint8Array,
  ): Promise<{ readonly accepted: true } | { readonly accepted: false; readonly winner?: Uint8Array }> {
    const body = await this.#ask(owner, { case: "commitSubmit", value: { groupId, epoch, commit } });
    if (body.case !== "commitResult") throw unexpected("the fate of a commit", body.case);
    const { accepted, winner, error } = body.value;
    if (accepted) return { accepted: true };
    if (error && error.code !== "CAUSEWAY_E2EE_STALE_EPOCH") throw errorOf(error, "CAUSEWAY_E2EE_STALE_EPOCH");
    return winner.length > 0 ? { accepted: false, winner } : { accepted: false };
  }

  async fetchHandshakes(owner: AgentId, groupId: Uint8Array, fromEpoch: bigint): Promise<readonly Uint8Array[]> {
    const body = await this.#ask(owner, { case: "handshakeFetch", value: { groupId, fromEpoch } });
    if (body.case !== "handshakeResult") throw unexpected("handshakes", body.case);
    if (body.value.error) throw errorOf(body.value.error, "CAUSEWAY_E2EE_CONTEXT_UNKNOWN");
    return body.value.commits;
  }

  isOrdered(peer: AgentId): boolean {
    return this.#link.isOrdered(peer);
  }

  /** What the gateway that serves `owner` knows of its topics. */
  async askTopics(owner: AgentId, command: TopicQuestion): Promise<readonly agp.TopicInfo[]> {
    const body = await this.#ask(owner, { case: "topicCommand", value: { command } });
    if (body.case !== "topicResult") throw unexpected("topics", body.case);
    if (body.value.error) throw errorOf(body.value.error, "CAUSEWAY_TOPIC_NOT_FOUND");
    return body.value.topics;
  }

  /** Takes an answer. False when it belongs to nothing that was asked here. */
  handle(control: agp.Control): boolean {
    if (control.body.case === undefined) return false;
    const report = control.body.case === "deliveryReport" ? control.body.value : undefined;
    // A gateway that cannot route a question reports the question's message id, which is also its request id.
    const pending = this.#pending.get(toHex(report ? report.messageId : control.requestId));
    if (!pending) return false;
    if (report) pending.reject(errorOf(report.error, "CAUSEWAY_FORWARDING_NO_ROUTE"));
    else pending.resolve(control.body);
    return true;
  }

  /** The link was lost: answers to what was asked over it will not come. */
  reset(error: CausewayError): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  async #ask(
    about: string,
    body: ControlInit & {},
    targetKind: agp.TargetKind = agp.TargetKind.AGENT,
    to?: Target,
  ): Promise<ControlBody> {
    const { scheduler, random } = this.#connector;
    if (this.#pending.size >= pendingMax) {
      throw refuse(
        "CAUSEWAY_FORWARDING_OVERLOADED",
        `expected at most ${pendingMax} questions to delivery services at once; retry later`,
      );
    }
    const id = newMessageId(random, scheduler.now().unix);
    const key = toHex(id);
    const answer = new Promise<ControlBody>((resolve, reject) => this.#pending.set(key, { resolve, reject }));
    answer.catch(() => undefined);
    const question = encodeFrame({
      case: "control",
      value: {
        header: {
          version: 1,
          targetKind,
          target: about,
          source: this.#source,
          messageId: id,
          hopTtl: defaults.hopTtl,
          trafficClass: agp.TrafficClass.CONTROL,
        },
        requestId: id,
        body,
      },
    });
    try {
      const asked = (): Promise<ControlBody> => this.#link.transmit(question, to).then(() => answer);
      const expected = `an answer of ${about} or the gateway that serves it`;
      return await this.#link.awaiting(() => within(asked(), { scheduler, timeoutMs: answerMs, expected }));
    } finally {
      this.#pending.delete(key);
    }
  }
}

function unexpected(wanted: string, got: string): CausewayError {
  return refuse("CAUSEWAY_FRAME_UNEXPECTED", `expected ${wanted} as the answer, got ${got}`);
}

const pendingMax = 1_024;
const answerMs = 10_000;
