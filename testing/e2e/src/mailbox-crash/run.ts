/**
 * Kills a gateway at random instants while a sender gets messages acknowledged as stored, and then checks every one of
 * them: it came to the application once, or it is a dead letter that an operator can see.
 */
import type { Agent } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { hex } from "@causeway/core-wire";
import { until } from "../world.ts";
import { type CrashScene, openScene } from "./scene.ts";

export interface CrashOptions {
  readonly kills: number;
  /** Messages that are sent at the same time. */
  readonly flows: number;
  /** In [0, 1): decides when to kill. */
  readonly random: () => number;
  readonly onKill?: (done: number, stored: number) => void;
}

/** What came of it. */
export interface CrashReport {
  readonly kills: number;
  /** Messages whose sender was told that they are stored. */
  readonly stored: number;
  /** Of these, those that came to the application once. */
  readonly arrived: number;
  /** Of these, those that are dead letters. */
  readonly dead: number;
  /** Acknowledged as stored, and neither. */
  readonly lost: readonly string[];
  /** Came to the application more than once. */
  readonly repeated: readonly string[];
  /** Refused or not known, by code: nothing is promised of them. */
  readonly failed: Readonly<Record<string, number>>;
}

const receiver = "blue.example/people/bob";
/** Longest life of the gateway after its first acknowledgement. */
const lifeMsMax = 400;
/** The receiver does not leave so many messages waiting; a life of the gateway adds about as many. The quota of one sender is 2,000. */
const awayMessagesMax = 500;
/** One send may take several lives of the gateway. */
const patienceMs = 60_000;

export async function runCrashes(options: CrashOptions): Promise<CrashReport> {
  await using scene = await openScene();
  const bob = new Receiver(scene);
  await bob.come();
  const alice = await scene.agent("blue.example/people/alice");
  await alice.send(receiver, "first contact");
  await using sending = new Sending(alice, receiver, options.flows);
  for (let kill = 0; kill < options.kills; kill++) {
    // A mailbox that is full takes nothing until its agent was there.
    if (!bob.isHere && sending.stored.size - bob.heard.size > awayMessagesMax) await bob.come();
    const before = sending.stored.size;
    await until("a message that is stored", () => sending.stored.size > before, patienceMs);
    await new Promise((resolve) => setTimeout(resolve, options.random() * lifeMsMax));
    await scene.gateway.kill();
    options.onKill?.(kill + 1, sending.stored.size);
    await scene.gateway.start();
    if (options.random() < 0.2) await (bob.isHere ? bob.leave() : bob.come());
  }
  if (!bob.isHere) await bob.come();
  await sending.stop();
  const admin = scene.admin();
  // What is missing in the end is the result, not a failure of the run.
  const isOver = async (): Promise<boolean> => isSettled(sending.stored, bob.heard, await deadLetters(admin));
  await until("everything to arrive or to be given up", isOver, patienceMs).catch(() => undefined);
  const dead = await deadLetters(admin);
  return report(options.kills, sending, bob.heard, dead);
}

/** The application at the other end, which leaves now and then and says that it comes back. */
class Receiver {
  /** How often each text came. */
  readonly heard = new Map<string, number>();
  readonly #scene: CrashScene;
  #agent: Agent | undefined;

  constructor(scene: CrashScene) {
    this.#scene = scene;
  }

  get isHere(): boolean {
    return this.#agent !== undefined;
  }

  async come(): Promise<void> {
    const agent = await this.#scene.agent(receiver);
    this.#agent = agent;
    agent.onMessage((message) => {
      const text = String(message.data);
      this.heard.set(text, (this.heard.get(text) ?? 0) + 1);
    });
    const skills = [{ id: "listen", description: "Listens" }];
    await agent.register({ name: "Bob", description: "Listens", version: "1", skills }, { timeoutMs: patienceMs });
  }

  async leave(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    await agent?.close({ away: true });
  }
}

/** Sends one message after the other in each of several flows. */
class Sending implements AsyncDisposable {
  /** Text by message id, of what is known to be stored. */
  readonly stored = new Map<string, string>();
  readonly failed: Record<string, number> = {};
  readonly #running: Promise<void>[];
  #isStopped = false;

  constructor(from: Agent, to: string, flows: number) {
    this.#running = Array.from({ length: flows }, async (_, flow) => {
      for (let n = 0; !this.#isStopped; n++) await this.#send(from, to, `${flow}-${n}`);
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
  }

  /** When the run fails the flows may wait for a gateway that is gone: they end with their agent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
  }

  async #send(from: Agent, to: string, text: string): Promise<void> {
    try {
      const { messageId } = await from.send(to, text, { ack: "stored", timeoutMs: patienceMs });
      this.stored.set(messageId, text);
    } catch (thrown) {
      const { code } = CausewayError.from(thrown);
      this.failed[code] = (this.failed[code] ?? 0) + 1;
    }
  }
}

/** Ids of the dead letters. */
async function deadLetters(admin: ReturnType<CrashScene["admin"]>): Promise<ReadonlySet<string>> {
  const { messages } = await admin.listStored({ deadLetters: true });
  return new Set(messages.map(({ messageId }) => hex(messageId)));
}

function isSettled(
  ids: ReadonlyMap<string, string>,
  heard: ReadonlyMap<string, number>,
  dead: ReadonlySet<string>,
): boolean {
  return [...ids].every(([id, text]) => heard.has(text) || dead.has(id));
}

function report(
  kills: number,
  { stored: ids, failed }: Sending,
  heard: ReadonlyMap<string, number>,
  dead: ReadonlySet<string>,
): CrashReport {
  const entries = [...ids];
  return {
    kills,
    stored: entries.length,
    arrived: entries.filter(([, text]) => heard.get(text) === 1).length,
    dead: entries.filter(([id]) => dead.has(id)).length,
    lost: entries.filter(([id, text]) => !heard.has(text) && !dead.has(id)).map(([, text]) => text),
    repeated: [...heard].filter(([, count]) => count > 1).map(([text]) => text),
    failed,
  };
}
