/** Keeps the serving gateway stocked with key packages, so that others can reach this agent while it is away. */
import { CausewayError, type Log } from "@causeway/core-base";
import type { EndToEnd } from "./end-to-end.ts";
import type { GatewaySession } from "./gateway-session.ts";
import { errorOf } from "./session/messages.ts";

export class KeyPackageStock {
  readonly #session: GatewaySession;
  readonly #endToEnd: EndToEnd;
  readonly #log: Log;
  /** Unused packages at the gateway, as far as this agent knows. */
  #stored = 0;
  #gateway: string | undefined;
  #isFilling = false;

  constructor(session: GatewaySession, endToEnd: EndToEnd, log: Log) {
    this.#session = session;
    this.#endToEnd = endToEnd;
    this.#log = log;
  }

  /** Asks how many are left: whoever fetches one need not use it, so this agent cannot count along. */
  async check(): Promise<void> {
    try {
      const answer = await this.#session.call((request) => ({ case: "keyPackageUpload", value: { request } }), {
        timeoutMs: uploadMs,
        expected: "the gateway to say how many key packages it has",
      });
      if (answer.case === "keyPackageUploadResult" && !answer.value.error) this.#stored = answer.value.stored;
    } catch (thrown) {
      this.#log.debug("agent.key_packages_failed", { code: CausewayError.from(thrown).code });
      return;
    }
    await this.fill();
  }

  /** Attached: another gateway has none of this agent's packages yet. */
  async handleAttached(gateway: string): Promise<void> {
    if (this.#gateway !== gateway) this.#stored = 0;
    this.#gateway = gateway;
    await this.fill();
  }

  /**
   * Another agent has used a package: a group was joined. It may be one that was handed out past the gateway, so the
   * gateway says what it has left before more are made.
   */
  handleUsed(): void {
    this.#stored = Math.max(0, this.#stored - 1);
    if (this.#stored < lowMark && !this.#isFilling) void this.check();
  }

  /** Uploads what is missing. Failures are left to the next occasion. */
  async fill(): Promise<void> {
    if (this.#isFilling || this.#stored >= lowMark) return;
    this.#isFilling = true;
    try {
      // Without the private parts, what an earlier run has uploaded would only lead others astray.
      const replace = this.#endToEnd.exportStatus().keyPackages === 0;
      const { packages, lastResort } = await this.#endToEnd.keyPackages(stockMax - this.#stored);
      const answer = await this.#session.call(
        (request) => ({
          case: "keyPackageUpload",
          value: { request, keyPackages: [...packages], lastResort, replace },
        }),
        { timeoutMs: uploadMs, expected: "the gateway to store key packages" },
      );
      if (answer.case !== "keyPackageUploadResult") return;
      if (answer.value.error) throw errorOf(answer.value.error, "CAUSEWAY_INTERNAL");
      this.#stored = answer.value.stored;
    } catch (thrown) {
      this.#log.warn("agent.key_packages_failed", { code: CausewayError.from(thrown).code });
    } finally {
      this.#isFilling = false;
    }
  }
}

/** Packages kept at the gateway, and the number below which more are made. */
const stockMax = 40;
const lowMark = 20;
const uploadMs = 10_000;
