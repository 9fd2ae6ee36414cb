/** Keeps every gateway of this agent stocked with key packages, so that others can reach it while it is away. */
import { CausewayError, type Log } from "@causeway/core-base";
import type { EndToEnd } from "./end-to-end.ts";
import type { GatewaySession } from "./gateway-session.ts";
import { errorOf } from "./session/messages.ts";

export class KeyPackageStock {
  readonly #links: () => readonly GatewaySession[];
  readonly #endToEnd: EndToEnd;
  readonly #log: Log;
  /** Unused packages at each gateway, as far as this agent knows. Bounded, oldest first. */
  readonly #stored = new Map<string, number>();
  /** Uploads under way, by gateway. */
  readonly #filling = new Map<string, { readonly link: GatewaySession; readonly done: Promise<void> }>();
  /** This run began without the private parts of what earlier ones have uploaded. */
  readonly #hasLostState: boolean;

  constructor(links: () => readonly GatewaySession[], endToEnd: EndToEnd, log: Log) {
    this.#links = links;
    this.#endToEnd = endToEnd;
    this.#log = log;
    this.#hasLostState = endToEnd.exportStatus().keyPackages === 0;
  }

  /** Asks each gateway how many are left: whoever fetches one need not use it, so this agent cannot count along. */
  async check(): Promise<void> {
    await Promise.all(this.#links().map((link) => this.#check(link)));
  }

  /** Attached: a gateway that was not stocked in this run has none of its packages yet, or what an earlier run left. */
  async handleAttached(link: GatewaySession): Promise<void> {
    const gateway = link.lease?.gatewayId;
    if (gateway === undefined) return;
    if (this.#stored.has(gateway) || this.#hasLostState) await this.#fill(link);
    else await this.#check(link);
  }

  /**
   * Another agent has used a package: a group was joined. It may be one that was handed out past the gateways, so they say
   * what they have left before more are made.
   */
  handleUsed(): void {
    for (const link of this.#links()) {
      const gateway = link.lease?.gatewayId;
      if (gateway === undefined) continue;
      const stored = Math.max(0, (this.#stored.get(gateway) ?? 0) - 1);
      this.#stored.set(gateway, stored);
      if (stored < lowMark && !this.#filling.has(gateway)) void this.#check(link);
    }
  }

  async #check(link: GatewaySession): Promise<void> {
    const gateway = link.lease?.gatewayId;
    if (gateway === undefined) return;
    try {
      const answer = await link.call((request) => ({ case: "keyPackageUpload", value: { request } }), {
        timeoutMs: uploadMs,
        expected: "the gateway to say how many key packages it has",
      });
      if (answer.case === "keyPackageUploadResult" && !answer.value.error) this.#note(gateway, answer.value.stored);
    } catch (thrown) {
      this.#log.debug("agent.key_packages_failed", { code: CausewayError.from(thrown).code });
      return;
    }
    await this.#fill(link);
  }

  /** Uploads what is missing. Failures are left to the next occasion. */
  async #fill(link: GatewaySession): Promise<void> {
    const gateway = link.lease?.gatewayId;
    if (gateway === undefined) return;
    const running = this.#filling.get(gateway);
    if (running) {
      if (running.link === link) return;
      // The gateway may end the older of two attachments, and what was uploaded over it, at any moment.
      await running.done;
      return this.#fill(link);
    }
    const stored = this.#stored.get(gateway);
    if (stored !== undefined && stored >= lowMark) return;
    const done = this.#upload(link, gateway, stored).finally(() => this.#filling.delete(gateway));
    this.#filling.set(gateway, { link, done });
    await done;
  }

  async #upload(link: GatewaySession, gateway: string, stored: number | undefined): Promise<void> {
    try {
      // Without the private parts, what an earlier run has uploaded would only lead others astray.
      const replace = this.#hasLostState && stored === undefined;
      const { packages, lastResort } = await this.#endToEnd.keyPackages(stockMax - (stored ?? 0));
      const answer = await link.call(
        (request) => ({
          case: "keyPackageUpload",
          value: { request, keyPackages: [...packages], lastResort, replace },
        }),
        { timeoutMs: uploadMs, expected: "the gateway to store key packages" },
      );
      if (answer.case !== "keyPackageUploadResult") return;
      if (answer.value.error) throw errorOf(answer.value.error, "CAUSEWAY_INTERNAL");
      this.#note(gateway, answer.value.stored);
    } catch (thrown) {
      this.#log.warn("agent.key_packages_failed", { code: CausewayError.from(thrown).code });
    }
  }

  #note(gateway: string, stored: number): void {
    this.#stored.delete(gateway);
    this.#stored.set(gateway, stored);
    const [oldest] = this.#stored.keys();
    if (this.#stored.size > gatewaysMax && oldest !== undefined) this.#stored.delete(oldest);
  }
}

/** Packages kept at each gateway, and the number below which more are made. */
const stockMax = 40;
const lowMark = 20;
const uploadMs = 10_000;
/** Gateways of which it is remembered what they have. */
const gatewaysMax = 64;
