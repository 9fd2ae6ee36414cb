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

/** What is behind it. */
export interface LimitsAdminParts<T extends { readonly [K in keyof T]: number }> {
  readonly limits: LiveLimits<T>;
  /** What the configuration says now; undefined when the service cannot read it again. */
  readonly read: (() => Partial<T>) | undefined;
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
    const { changed, pending } = this.#reload(by);
    return create(ReloadLimitsResponseSchema, {
      changed: changed.map(changeToWire),
      pending: pending.map(changeToWire),
    });
  }

  #reload(by: string): LimitReload {
    const { limits, read, log } = this.#parts;
    if (read === undefined)
      throw refuse("CAUSEWAY_UNSUPPORTED", "this service was started without a configuration that it can read again");
    try {
      const outcome = limits.reload(read());
      for (const change of outcome.changed) this.#note(change, by);
      for (const { name, from, to } of outcome.pending) log.warn("limits.needs_restart", { name, from, to, by });
      return outcome;
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
