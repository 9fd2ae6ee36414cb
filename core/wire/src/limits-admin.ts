/** How a service answers operators about its limits (LimitsService), and keeps a log of what they change. */
import { create } from "@bufbuild/protobuf";
import {
  CausewayError,
  type LimitChange,
  type LimitReload,
  type LimitRow,
  type LiveLimits,
  type Log,
  refuse,
} from "@causeway/core-base";
import {
  type ListLimitsResponse,
  ListLimitsResponseSchema,
  type ReloadLimitsResponse,
  ReloadLimitsResponseSchema,
  type SetLimitRequest,
  type SetLimitResponse,
  SetLimitResponseSchema,
} from "./gen/causeway/admin/v1/admin_pb.js";

/** What a reload did to the rules of a gateway, in words. */
export interface RuleChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly isReordered: boolean;
}

/** What a configuration says now of what can change while its service runs. */
export interface LiveSettings<T> {
  readonly limits: Partial<T>;
  /** Puts rules in force that were read with the limits and found right. Called when the limits are right as well. */
  readonly takeRules?: (by: string) => RuleChanges;
}

/** What is behind it. */
export interface LimitsAdminParts<T extends { readonly [K in keyof T]: number }> {
  readonly limits: LiveLimits<T>;
  /** What the configuration says now; undefined when the service cannot read it again. */
  readonly read: (() => LiveSettings<T>) | undefined;
  readonly log: Log;
}

/** Answers LimitsService. Callers are authorized by the service. */
export class LimitsAdmin<T extends { readonly [K in keyof T]: number }> {
  readonly #parts: LimitsAdminParts<T>;

  constructor(parts: LimitsAdminParts<T>) {
    this.#parts = parts;
  }

  list(): ListLimitsResponse {
    return create(ListLimitsResponseSchema, { limits: this.#parts.limits.list().map(toWire) });
  }

  /** Throws CAUSEWAY_CONFIG_INVALID for what may not be set. */
  set({ name, value }: SetLimitRequest, by: string): SetLimitResponse {
    const { limits } = this.#parts;
    const change = limits.set(name, Number(value), by);
    this.#note(change, by);
    const row = limits.list().find((each) => each.name === name);
    return create(SetLimitResponseSchema, { ...(row && { limit: toWire(row) }), before: BigInt(change.from) });
  }

  /** Reads the configuration again. Throws, and changes nothing, when it is wrong. `by` is an operator or a signal. */
  reload(by: string): ReloadLimitsResponse {
    const { changed, pending, rules } = this.#reload(by);
    return create(ReloadLimitsResponseSchema, {
      changed: changed.map(changeToWire),
      pending: pending.map(changeToWire),
      ...(rules && {
        rulesAdded: [...rules.added],
        rulesRemoved: [...rules.removed],
        rulesReordered: rules.isReordered,
      }),
    });
  }

  #reload(by: string): LimitReload & { readonly rules: RuleChanges | undefined } {
    const { limits, read, log } = this.#parts;
    if (read === undefined)
      throw refuse("CAUSEWAY_UNSUPPORTED", "this service was started without a configuration that it can read again");
    try {
      const settings = read();
      const outcome = limits.reload(settings.limits);
      for (const change of outcome.changed) this.#note(change, by);
      for (const { name, from, to } of outcome.pending) log.warn("limits.needs_restart", { name, from, to, by });
      return { ...outcome, rules: settings.takeRules?.(by) };
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      log.error("limits.reload_failed", { by, code: error.code }, error);
      throw error;
    }
  }

  #note({ name, from, to }: LimitChange, by: string): void {
    this.#parts.log.info("limits.changed", { name, from, to, by });
  }
}

function toWire({ name, unit, defaultValue, min, max, value, effect, setBy }: LimitRow) {
  return {
    name,
    unit,
    defaultValue: BigInt(defaultValue),
    min: BigInt(min),
    max: BigInt(max),
    value: BigInt(value),
    effect,
    setBy,
  };
}

const changeToWire = ({ name, from, to }: LimitChange) => ({ name, from: BigInt(from), to: BigInt(to) });
