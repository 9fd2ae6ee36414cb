/** What commands write: results on standard output, progress and problems on standard error. */

/** Where and how a command reports. */
export interface Output {
  readonly json: boolean;
  /** The result of a command: one JSON value, or the text made from it. */
  result<T>(value: T, render: (value: T) => string): void;
  /** A line for people; silent with --json. */
  line(text?: string): void;
  /** What went wrong beside the result, for people; silent with --json, whose value has it. */
  problem(text: string): void;
  /** Runs `work`; says what is going on when it takes longer than a second. */
  during<T>(what: string, work: Promise<T>): Promise<T>;
  readonly style: Style;
}

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
}

const progressAfterMs = 1_000;
const progressEveryMs = 5_000;

export function createOutput(options: { readonly json: boolean }): Output {
  const style = createStyle(isColoured(process.stdout) && !options.json);
  const { dim } = createStyle(isColoured(process.stderr));
  return {
    json: options.json,
    style,
    result(value, render) {
      process.stdout.write(`${options.json ? JSON.stringify(value, jsonValue) : render(value)}\n`);
    },
    line(text = "") {
      if (!options.json) process.stdout.write(`${text}\n`);
    },
    problem(text) {
      if (!options.json) process.stderr.write(`${text}\n`);
    },
    async during(what, work) {
      const started = performance.now();
      const report = () =>
        process.stderr.write(`${dim(`... ${what} (${Math.round((performance.now() - started) / 1000)} s)`)}\n`);
      let timer = setTimeout(function again() {
        report();
        timer = setTimeout(again, progressEveryMs);
      }, progressAfterMs);
      try {
        return await work;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** A table with aligned columns; empty rows give the sentence `none`. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], none: string): string {
  if (rows.length === 0) return none;
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => (row[i] ?? "").length)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `1 agent`, `2 agents`. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** A time for people; nothing when there is none. */
export const timeOf = (unixMs: bigint): string => (unixMs === 0n ? "" : new Date(Number(unixMs)).toISOString());

/** JSON rendering of what protobuf messages hold: big integers as numbers where exact, bytes as hex. */
export function jsonValue(key: string, value: unknown): unknown {
  if (key === "$typeName" || key === "$unknown") return undefined;
  if (typeof value === "bigint") return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  return value;
}

function isColoured(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env["NO_COLOR"];
}

function createStyle(coloured: boolean): Style {
  const wrap = (open: number, close: number) => (text: string) =>
    coloured ? `\u001b[${open}m${text}\u001b[${close}m` : text;
  return { bold: wrap(1, 22), dim: wrap(2, 22), good: wrap(32, 39), bad: wrap(31, 39) };
}
