/**
 * Limits that an operator can see and change while a service runs (AAP-103): one object that its parts read at each use,
 * what may be set, and who set it. Knows nothing of what a limit bounds.
 */
import { refuse } from "./errors.ts";

/** When a changed limit counts: for everything, for what begins after the change, or after a restart of the process. */
export type LimitEffect = "at once" | "for new" | "after a restart";

/** What a limit may be, and when a change of it counts. */
export interface LimitRule {
  readonly min: number;
  readonly max: number;
  readonly effect: LimitEffect;
}

/** One limit as operators see it. */
export interface LimitRow extends LimitRule {
  readonly name: string;
  /** ms, s, bytes, /s, /min, /h, bytes/s, bytes/min, or nothing for a count. */
  readonly unit: string;
  readonly defaultValue: number;
  readonly value: number;
  /** `default`, `configuration`, or the SPIFFE ID of the operator who set it. */
  readonly setBy: string;
}

/** One limit that has another value than before. */
export interface LimitChange {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** The outcome of a reload. */
export interface LimitReload {
  readonly changed: readonly LimitChange[];
  /** What the configuration says and counts after a restart only. */
  readonly pending: readonly LimitChange[];
}

type Values = Readonly<Record<string, number>>;

/** Limits and what they may be. */
export interface LimitTable<T> {
  readonly defaults: T;
  readonly rules: Readonly<Record<keyof T, LimitRule>>;
  /** Why values do not go together; undefined when they do. */
  contradiction?(values: T): string | undefined;
}

export interface LiveLimitsOptions<T> extends LimitTable<T> {
  /** What the configuration says; the rest has its default. */
  readonly configured?: Partial<T>;
}

/** Limits of any names. */
export type AnyLimitTable = LimitTable<Readonly<Record<string, number>>>;

/** The limits of a service with those of what it runs on in the same list, of which the service knows nothing. */
export function limitsBeside<T extends object>(own: LimitTable<T>, others: AnyLimitTable | undefined): LimitTable<T> {
  if (others === undefined) return own;
  return {
    defaults: { ...others.defaults, ...own.defaults },
    rules: { ...others.rules, ...own.rules },
    contradiction: (values) => own.contradiction?.(values) ?? others.contradiction?.({ ...others.defaults, ...values }),
  };
}

/** The limits of one service. */
export class LiveLimits<T extends { readonly [K in keyof T]: number }> {
  /** The values now. Read them at each use: a copy does not follow. */
  readonly values: T;
  /** Called after each change with the new values in place. */
  onChange: (changes: readonly LimitChange[]) => void = () => undefined;
  readonly #values: Record<string, number>;
  readonly #defaults: Values;
  readonly #rules: Readonly<Record<string, LimitRule>>;
  readonly #contradiction: (values: T) => string | undefined;
  readonly #setBy = new Map<string, string>();

  /** Throws CAUSEWAY_CONFIG_INVALID for a value that is not allowed. */
  constructor(options: LiveLimitsOptions<T>) {
    this.#defaults = options.defaults as Values;
    this.#rules = options.rules;
    this.#contradiction = options.contradiction ?? (() => undefined);
    this.#values = { ...this.#defaults };
    this.values = this.#values as unknown as T;
    for (const [name, value] of this.#checked(options.configured ?? {})) this.#put(name, value, "configuration");
  }

  /** Every limit, by name. */
  list(): readonly LimitRow[] {
    return Object.keys(this.#defaults)
      .sort()
      .map((name) => this.#row(name));
  }

  /** Sets one limit until the next restart or reload. Throws CAUSEWAY_CONFIG_INVALID when it may not be. */
  set(name: string, value: number, by: string): LimitChange {
    const rule = this.#rule(name);
    if (rule.effect === "after a restart") {
      throw refuse(
        "CAUSEWAY_CONFIG_INVALID",
        `${name} cannot be changed while the service runs; write it to the configuration and restart`,
      );
    }
    this.#check(name, value);
    this.#checkTogether({ ...this.#values, [name]: value });
    const change = { name, from: this.#values[name] ?? value, to: value };
    this.#put(name, value, by);
    this.onChange([change]);
    return change;
  }

  /**
   * Takes over what the configuration says now; what operators had set is what it was before them. Throws
   * CAUSEWAY_CONFIG_INVALID and changes nothing when a value is not allowed.
   */
  reload(configured: Partial<T>): LimitReload {
    const wanted = new Map(this.#checked(configured));
    const changed: LimitChange[] = [];
    const pending: LimitChange[] = [];
    for (const [name, fallback] of Object.entries(this.#defaults)) {
      const to = wanted.get(name) ?? fallback;
      const from = this.#values[name] ?? fallback;
      if (this.#rule(name).effect === "after a restart") {
        if (to !== from) pending.push({ name, from, to });
        continue;
      }
      if (to !== from) changed.push({ name, from, to });
      this.#put(name, to, wanted.has(name) ? "configuration" : undefined);
    }
    if (changed.length > 0) this.onChange(changed);
    return { changed, pending };
  }

  #checked(configured: Partial<T>): readonly (readonly [string, number])[] {
    const given = Object.entries(configured as Values).filter(([, value]) => value !== undefined);
    for (const [name, value] of given) this.#check(name, value);
    this.#checkTogether({ ...this.#defaults, ...Object.fromEntries(given) });
    return given;
  }

  #check(name: string, value: number): void {
    const { min, max } = this.#rule(name);
    if (Number.isSafeInteger(value) && value >= min && value <= max) return;
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected ${name} as a whole number from ${min} to ${max}, got ${value}`);
  }

  #checkTogether(values: Values): void {
    const reason = this.#contradiction(values as unknown as T);
    if (reason !== undefined) throw refuse("CAUSEWAY_CONFIG_INVALID", reason);
  }

  #rule(name: string): LimitRule {
    const rule = Object.hasOwn(this.#rules, name) ? this.#rules[name] : undefined;
    if (rule !== undefined) return rule;
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `there is no limit ${JSON.stringify(name)}; \`causeway limits\` lists them`,
    );
  }

  #put(name: string, value: number, by: string | undefined): void {
    this.#values[name] = value;
    if (by === undefined) this.#setBy.delete(name);
    else this.#setBy.set(name, by);
  }

  #row(name: string): LimitRow {
    return {
      name,
      unit: unitOf(name),
      defaultValue: this.#defaults[name] ?? 0,
      value: this.#values[name] ?? 0,
      setBy: this.#setBy.get(name) ?? "default",
      ...this.#rule(name),
    };
  }
}

/** The unit that a limit's name says. */
function unitOf(name: string): string {
  const unit = name.includes("Bytes") ? "bytes" : "";
  if (name.endsWith("PerSecond")) return `${unit}/s`;
  if (name.endsWith("PerMinute")) return `${unit}/min`;
  if (name.endsWith("PerHour")) return `${unit}/h`;
  if (/Ms(Min|Max)?$/.test(name)) return "ms";
  return name.endsWith("Seconds") ? "s" : unit;
}
