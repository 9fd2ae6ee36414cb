/**
 * Subscriptions to every topic of an owner below a prefix (AGP-20): those that are there, and those that come later. Each
 * is joined by itself, since each is a group of its own. The gateway delivers by the pattern, so that the first message
 * of a topic that is not known here says that it has come; besides, the owner's gateway is asked once a minute.
 */
import { type AgentId, CausewayError, type Instant, later, type Scheduler } from "@causeway/core-base";
import type { agp } from "@causeway/core-wire";
import type { CallOptions, PublicationHandler, Subscription } from "./api.ts";
import type { At } from "./attachments.ts";
import { Serial } from "./serial.ts";
import { maySubscribe } from "./topic-rights.ts";

export interface TopicPatternsPorts {
  readonly self: AgentId;
  readonly scheduler: Scheduler;
  /** Begins the subscription to the pattern at each gateway, or at one. */
  readonly link: (pattern: string, options: CallOptions, at?: At) => Promise<void>;
  readonly unlink: (pattern: string) => Promise<void>;
  /** Topics of an owner below a prefix. */
  readonly list: (prefix: string, owner: AgentId, options: CallOptions) => Promise<readonly agp.TopicInfo[]>;
  readonly subscribe: (
    topic: string,
    run: PublicationHandler,
    options: CallOptions & { readonly owner: string },
  ) => Promise<Subscription>;
  readonly warn: (thrown: unknown) => void;
}

/** One subscription to a pattern. */
interface Running {
  readonly pattern: string;
  readonly prefix: string;
  readonly owner: AgentId;
  readonly run: PublicationHandler;
  /** By topic. */
  readonly joined: Map<string, Subscription>;
  lookedAt: Instant;
  /** Takes back the look that is to come soon. */
  cancelLook: (() => void) | undefined;
  isClosed: boolean;
}

export class TopicPatterns {
  readonly #ports: TopicPatternsPorts;
  readonly #running = new Set<Running>();
  readonly #serial = new Serial();

  constructor(ports: TopicPatternsPorts) {
    this.#ports = ports;
  }

  /** `pattern` is a full name that ends in `/*`. Throws what the owner's gateway answers, when it cannot be asked. */
  async subscribe(
    pattern: string,
    owner: AgentId,
    run: PublicationHandler,
    options: CallOptions,
  ): Promise<Subscription> {
    const prefix = pattern.slice(0, -2);
    const running: Running = {
      ...{ pattern, prefix, owner, run },
      joined: new Map(),
      lookedAt: this.#ports.scheduler.now().instant,
      cancelLook: undefined,
      isClosed: false,
    };
    this.#running.add(running);
    try {
      await this.#ports.link(pattern, options);
      await this.#look(running, options);
    } catch (thrown) {
      await this.#close(running);
      throw thrown;
    }
    const close = (): Promise<void> => this.#close(running);
    return { topic: pattern, close, [Symbol.asyncDispose]: close };
  }

  /** This agent has created a topic. */
  handleCreated(topic: string): void {
    for (const running of this.#missing(topic)) this.#lookInBackground(running);
  }

  /** A message of a topic that this agent is no member of. */
  handleUnknown(topic: string): void {
    const { scheduler } = this.#ports;
    for (const running of this.#missing(topic)) {
      // Soon, and once for all that come until then.
      if (running.cancelLook !== undefined) continue;
      const { instant } = scheduler.now();
      const due = later(running.lookedAt, lookAgainMs);
      if (due <= instant) this.#lookInBackground(running);
      else running.cancelLook = scheduler.at(due, () => this.#lookInBackground(running));
    }
  }

  /** Attached anew: gateways forget subscriptions with the link that they came over. */
  async handleAttached(at: At): Promise<void> {
    for (const pattern of new Set([...this.#running].map((each) => each.pattern)))
      await this.#ports.link(pattern, {}, at).catch((thrown: unknown) => this.#ports.warn(thrown));
    for (const running of this.#running) this.#lookInBackground(running);
  }

  /** Looks at what has not been looked at for a while. */
  maintain(): void {
    const now = this.#ports.scheduler.now().instant;
    for (const running of this.#running) if (now >= later(running.lookedAt, lookMs)) this.#lookInBackground(running);
  }

  /** Nothing is looked at any more: the agent has closed. */
  close(): void {
    for (const running of this.#running) {
      running.isClosed = true;
      running.cancelLook?.();
    }
    this.#running.clear();
  }

  /** Those that cover a topic and have not joined it. */
  #missing(topic: string): readonly Running[] {
    return [...this.#running].filter(({ prefix, joined }) => topic.startsWith(`${prefix}/`) && !joined.has(topic));
  }

  #lookInBackground(running: Running): void {
    this.#look(running, {}).catch((thrown: unknown) => {
      // The next look may find what this one did not.
      if (!running.isClosed) this.#ports.warn(thrown);
    });
  }

  /** Joins what is there now and may be heard, and leaves what has gone. */
  #look(running: Running, options: CallOptions): Promise<void> {
    running.lookedAt = this.#ports.scheduler.now().instant;
    running.cancelLook?.();
    running.cancelLook = undefined;
    return this.#serial.run(running.pattern, async () => {
      const { self, list, subscribe, warn } = this.#ports;
      const { prefix, owner, run, joined } = running;
      if (running.isClosed) return;
      const found = await list(prefix, owner, options);
      const open = found.filter(
        ({ topic, policy }) => topic.startsWith(`${prefix}/`) && maySubscribe(policy, owner, self),
      );
      const names = new Set(open.map(({ topic }) => topic));
      for (const [topic, subscription] of joined) {
        if (names.has(topic)) continue;
        joined.delete(topic);
        await subscription.close();
      }
      const joining = [...names].map(async (topic) => {
        if (joined.has(topic)) return;
        try {
          const subscription = await subscribe(topic, run, { ...options, owner });
          if (running.isClosed) await subscription.close();
          else joined.set(topic, subscription);
        } catch (thrown) {
          // It may have gone meanwhile; one that cannot be joined does not keep the others away.
          if (!running.isClosed && CausewayError.from(thrown).code !== "CAUSEWAY_TOPIC_NOT_FOUND") warn(thrown);
        }
      });
      await Promise.all(joining);
    });
  }

  async #close(running: Running): Promise<void> {
    if (running.isClosed) return;
    running.isClosed = true;
    running.cancelLook?.();
    this.#running.delete(running);
    const isWanted = [...this.#running].some(({ pattern }) => pattern === running.pattern);
    if (!isWanted) await this.#ports.unlink(running.pattern).catch((thrown: unknown) => this.#ports.warn(thrown));
    await Promise.all([...running.joined.values()].map((each) => each.close()));
    running.joined.clear();
  }
}

/** How often the owner's gateway is asked. */
const lookMs = 55_000;
/** Messages of topics that are not known are no reason to ask more often. */
const lookAgainMs = 1_000;
