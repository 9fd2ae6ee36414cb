/** The agent's record: built from its profile, signed, registered, made known, and renewed while the agent lives. */
import { create } from "@bufbuild/protobuf";
import { CausewayError, defaults, refuse } from "@causeway/core-base";
import { parseReceipt, signRecord } from "@causeway/core-records";
import { ars, type record } from "@causeway/core-wire";
import type { AgentProfile, CallOptions, CardProfile, RegisterOptions, Registration } from "./api.ts";
import type { At, Attachments } from "./attachments.ts";
import { cancelled, sleep, within } from "./clock.ts";
import type { Connector, RegistryPort } from "./connector.ts";
import { timeoutOf } from "./exchange/limits.ts";
import type { GatewaySession } from "./gateway-session.ts";
import { errorOf } from "./session/messages.ts";

interface Registered {
  readonly profile: AgentProfile | CardProfile;
  readonly record: record.SignedRecord;
  readonly receipt: record.SignedReceipt;
  readonly resourceId: string;
}

export class RecordKeeper {
  readonly #connector: Connector;
  readonly #session: Attachments;
  readonly #onWarning: (error: CausewayError) => void;
  readonly #closed = new AbortController();
  #registered: Registered | undefined;
  /** Gateways that do not know it yet are told to forget the record. */
  #isWithdrawn = false;
  #revision = 0n;
  /** How long the record stays known while the agent is away. */
  #awayMs = 0;
  #renewal = new AbortController();

  constructor(connector: Connector, session: Attachments, onWarning: (error: CausewayError) => void) {
    this.#connector = connector;
    this.#session = session;
    this.#onWarning = onWarning;
  }

  get isRegistered(): boolean {
    return this.#registered !== undefined;
  }

  /** Registers, then advertises. Replaces what was registered before. */
  async register(profile: AgentProfile | CardProfile, options: RegisterOptions = {}): Promise<Registration> {
    const { awayMs = defaults.mailboxMs } = options;
    if (!(awayMs >= 0 && awayMs <= defaults.mailboxMsMax))
      throw refuse("CAUSEWAY_MISUSE", `expected awayMs up to ${defaults.mailboxMsMax}, got ${awayMs}`);
    this.#awayMs = Math.ceil(awayMs);
    const { registered, registration } = await this.#enter(profile, options);
    await this.#advertise(registered, "each", timeoutOf(options), options.signal);
    return registration;
  }

  /** Signs the record and registers it. */
  async #enter(
    profile: AgentProfile | CardProfile,
    options: CallOptions,
  ): Promise<{ readonly registered: Registered; readonly registration: Registration }> {
    const { identity, scheduler } = this.#connector;
    const registry = this.#registry();
    const now = scheduler.now().unix;
    // Time as revision stays ahead of every earlier run of this agent.
    const revision = BigInt(Math.floor(now)) > this.#revision ? BigInt(Math.floor(now)) : this.#revision + 1n;
    const signed = signRecord(identity.signer("record"), {
      agentId: identity.agentId,
      agentCard: cardBytes(profile),
      revision,
      updatedAt: now,
      ...(profile.languages && { languages: profile.languages }),
      ...(profile.protocols && { protocols: profile.protocols }),
      ...(profile.tags && { tags: profile.tags }),
      ...(profile.channels && { channels: profile.channels }),
      ...(profile.allowedDomains && { allowedDomains: profile.allowedDomains }),
      ...(profile.visibleDomains && { visibleDomains: profile.visibleDomains }),
    });
    const response = await this.#bounded(options, "the registry to accept the record", (signal) =>
      registry.register(create(ars.RegisterRequestSchema, { record: signed }), signal),
    );
    if (!response.receipt) {
      throw refuse("CAUSEWAY_RECORD_NOT_REGISTERED", "expected a receipt of the registry, got none");
    }
    this.#revision = revision;
    const { expiresAt } = parseReceipt(response.receipt.receipt);
    const registered: Registered = {
      profile,
      record: signed,
      receipt: response.receipt,
      resourceId: response.resourceId,
    };
    this.#registered = registered;
    this.#isWithdrawn = false;
    this.#renewLater(expiresAt - now);
    const registration = { resourceId: response.resourceId, revision: Number(response.revision) };
    return { registered, registration };
  }

  async deregister(reason: string, options: CallOptions = {}): Promise<void> {
    const registered = this.#registered;
    if (!registered) throw refuse("CAUSEWAY_MISUSE", "expected a registered agent, got none; call register first");
    const registry = this.#registry();
    this.#renewal.abort();
    this.#registered = undefined;
    await this.#bounded(options, "the registry to end the registration", (signal) =>
      registry.deregister(create(ars.DeregisterRequestSchema, { resourceId: registered.resourceId, reason }), signal),
    );
    this.#isWithdrawn = true;
    await this.#withdraw("each", timeoutOf(options), options.signal);
  }

  /** Attached: this gateway may not know the record. */
  async handleAttached(at: GatewaySession): Promise<void> {
    const { signal } = this.#closed;
    try {
      if (this.#registered) await this.#advertise(this.#registered, at, advertiseMs, signal);
      else if (this.#isWithdrawn) await this.#withdraw(at, advertiseMs, signal);
    } catch (thrown) {
      this.#warn(thrown);
    }
  }

  /** The signing certificate was renewed: the record is signed again, so that it outlives the old one. */
  async handleRenewed(): Promise<void> {
    if (!this.#registered) return;
    const { signal } = this.#closed;
    try {
      const { registered } = await this.#enter(this.#registered.profile, { signal });
      // Without a link now: whatever gateway comes next is told then.
      if (this.#session.lease) await this.#advertise(registered, "each", advertiseMs, signal);
    } catch (thrown) {
      this.#warn(thrown);
    }
  }

  close(): void {
    this.#closed.abort();
    this.#renewal.abort();
  }

  #registry(): RegistryPort {
    const { registry } = this.#connector;
    if (!registry)
      throw refuse("CAUSEWAY_MISUSE", "expected the URL of a registry in the options of connect, got none");
    return registry;
  }

  async #advertise(
    { record, receipt }: Registered,
    at: At,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const awayMs = BigInt(this.#awayMs);
    const answer = await this.#session.call(
      (request) => ({ case: "advertise", value: { request, record, receipt, awayMs } }),
      { at, timeoutMs, signal, expected: "the gateway to take the record" },
    );
    if (answer.case === "advertiseResult" && answer.value.error)
      throw errorOf(answer.value.error, "CAUSEWAY_RECORD_NOT_REGISTERED");
  }

  async #withdraw(at: At, timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const answer = await this.#session.call((request) => ({ case: "advertise", value: { request, withdraw: true } }), {
      ...{ at, timeoutMs, signal },
      expected: "the gateway to withdraw the record",
    });
    if (answer.case === "advertiseResult" && answer.value.error) throw errorOf(answer.value.error, "CAUSEWAY_INTERNAL");
  }

  /** At two thirds of the receipt's life, and again after a while when that fails. */
  #renewLater(lifetimeMs: number): void {
    this.#renewal.abort();
    if (this.#closed.signal.aborted) return;
    const renewal = new AbortController();
    this.#renewal = renewal;
    const waitMs = Math.min(Math.max((lifetimeMs * 2) / 3, renewMsMin), timerMsMax);
    sleep(this.#connector.scheduler, waitMs, renewal.signal).then(
      async () => {
        await this.handleRenewed();
        if (!renewal.signal.aborted) this.#renewLater(lifetimeMs / 3);
      },
      // Aborted: another registration has taken over, or the agent closes.
      () => undefined,
    );
  }

  async #bounded<T>(options: CallOptions, expected: string, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (options.signal?.aborted) throw cancelled(options.signal);
    const abort = new AbortController();
    const signal = AbortSignal.any([abort.signal, this.#closed.signal, ...(options.signal ? [options.signal] : [])]);
    try {
      return await within(call(signal), {
        scheduler: this.#connector.scheduler,
        timeoutMs: timeoutOf(options),
        signal: options.signal,
        expected,
      });
    } finally {
      abort.abort();
    }
  }

  #warn(thrown: unknown): void {
    if (!this.#closed.signal.aborted) this.#onWarning(CausewayError.from(thrown));
  }
}

/** The AgentCard of a profile: A2A 1.0, or the bytes that the caller brought. */
function cardBytes(profile: AgentProfile | CardProfile): Uint8Array {
  const encoder = new TextEncoder();
  if ("card" in profile) return typeof profile.card === "string" ? encoder.encode(profile.card) : profile.card;
  const card = {
    name: profile.name,
    description: profile.description,
    version: profile.version,
    supportedInterfaces: [],
    capabilities: { streaming: true },
    defaultInputModes: ["application/json", "text/plain"],
    defaultOutputModes: ["application/json", "text/plain"],
    skills: profile.skills.map(({ id, name, description, tags, examples }) => ({
      id,
      name: name ?? id,
      description,
      tags: tags ?? [],
      ...(examples && { examples }),
    })),
  };
  return encoder.encode(JSON.stringify(card));
}

const advertiseMs = 10_000;
const renewMsMin = 60_000;
/** Longest wait that timers of every platform hold. */
const timerMsMax = 2_147_000_000;
