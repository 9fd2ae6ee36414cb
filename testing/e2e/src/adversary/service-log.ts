/** Reads what a service has logged: one JSON object a line, written by its process. */
import { readFileSync } from "node:fs";
import { until, type World } from "../world.ts";

export type LogLine = Readonly<Record<string, unknown>> & { readonly event: string; readonly level: string };

/** The log of one service of a world, from a moment on. */
export class ServiceLog {
  readonly #file: string;
  readonly #name: string;
  #from: number;

  /** `name` as the supervisor knows it, for example blue.example/gw1. */
  constructor(world: World, name: string) {
    this.#file = world.home.logFile(name);
    this.#name = name;
    this.#from = this.#text().length;
  }

  /** Lines since this object was made or `forget` was called. */
  lines(): LogLine[] {
    return this.#text()
      .slice(this.#from)
      .split("\n")
      .flatMap((line) => {
        try {
          return [JSON.parse(line) as LogLine];
        } catch {
          // The last line may still be on its way.
          return [];
        }
      });
  }

  /** Waits for a line of `event` whose fields are those given; a pattern has to match. */
  async expect(event: string, fields: Readonly<Record<string, string | RegExp>> = {}): Promise<LogLine> {
    let found: LogLine | undefined;
    const matches = (line: LogLine): boolean =>
      line.event === event &&
      Object.entries(fields).every(([key, wanted]) =>
        wanted instanceof RegExp ? wanted.test(String(line[key])) : line[key] === wanted,
      );
    try {
      await until(`a line ${event}`, () => (found = this.lines().find(matches)) !== undefined, 5_000);
    } catch {
      const wanted = JSON.stringify(fields, (_key, value: unknown) =>
        value instanceof RegExp ? String(value) : value,
      );
      const seen = this.lines()
        .map((line) => JSON.stringify(line))
        .slice(-20);
      throw new Error(`${this.#name} did not log ${event} ${wanted}; it logged:\n${seen.join("\n")}`);
    }
    return found as LogLine;
  }

  /** Lines so far do not count any more. */
  forget(): void {
    this.#from = this.#text().length;
  }

  #text(): string {
    return readFileSync(this.#file, "utf8");
  }
}
