/** A crowd's process from the harness's side. */
import type { ChildProcess } from "node:child_process";
import { type Core, messageOf, type Processes } from "../processes.ts";
import type { RunningGateway } from "../system.ts";
import type { EndSpec } from "./end.ts";
import type { CrowdAnswer, CrowdCommand } from "./protocol.ts";

export class Crowd {
  readonly child: ChildProcess;
  readonly #processes: Processes;

  private constructor(child: ChildProcess, processes: Processes) {
    this.child = child;
    this.#processes = processes;
  }

  /** Starts a process with these ends, on the clients' core by default. */
  static async open(
    processes: Processes,
    gateway: RunningGateway,
    ends: readonly EndSpec[],
    core: Core = 1,
  ): Promise<Crowd> {
    const crowd = new Crowd(processes.node(new URL("./client.ts", import.meta.url), core), processes);
    const { client, settings } = gateway.clients.sender;
    await crowd.ask({ do: "open", system: client, settings, ends }, "open", 240_000);
    return crowd;
  }

  /** Sends a command and waits for its answer. */
  async ask<Did extends CrowdAnswer["did"]>(
    command: CrowdCommand,
    did: Did,
    withinMs = 30_000,
  ): Promise<Extract<CrowdAnswer, { did: Did }>> {
    const answered = messageOf(this.child, answers(did), `a crowd (${did})`, withinMs);
    this.child.send(command);
    return await answered;
  }

  tell(command: CrowdCommand): void {
    this.child.send(command);
  }

  end(): Promise<void> {
    return this.#processes.end(this.child);
  }
}

export const answers =
  <Did extends CrowdAnswer["did"]>(did: Did) =>
  (message: unknown): message is Extract<CrowdAnswer, { did: Did }> =>
    typeof message === "object" && message !== null && "did" in message && message.did === did;
