import { CausewayError, refuse } from "@causeway/core-base";
import { Command, CommanderError } from "commander";
import { describe, expect, test } from "vitest";
import { failureOf } from "./failure.ts";

describe("what a failed command says", () => {
  test("sentence, code, and whether a later attempt may work; exit code 1", () => {
    const failure = failureOf(refuse("CAUSEWAY_UNREACHABLE", "expected a gateway at https://x, got no answer"));
    expect(failure?.text).toBe(
      "causeway: expected a gateway at https://x, got no answer [CAUSEWAY_UNREACHABLE]\nIt may work later without a change.",
    );
    expect(failure?.exitCode).toBe(1);
  });

  test.each(["CAUSEWAY_CONFIG_INVALID", "CAUSEWAY_MISUSE", "CAUSEWAY_NAME_INVALID"] as const)(
    "%s is the caller's to correct: exit code 2",
    (code) => {
      expect(failureOf(refuse(code, "no"))?.exitCode).toBe(2);
    },
  );

  test("as JSON: code, sentence, retryable and details", () => {
    const failure = failureOf(refuse("CAUSEWAY_TIMEOUT", "too late", { details: { after: "5 ms" } }));
    expect(JSON.parse(failure?.json ?? "")).toEqual({
      ok: false,
      error: { code: "CAUSEWAY_TIMEOUT", message: "too late", retryable: true, details: { after: "5 ms" } },
    });
  });

  test("an error of a library that wraps one of ours is that one", () => {
    const wrapped = new Error("[unavailable] rpc", { cause: refuse("CAUSEWAY_UNREACHABLE", "nobody there") });
    expect(failureOf(wrapped)?.text).toContain("causeway: nobody there [CAUSEWAY_UNREACHABLE]");
  });

  test("the deepest cause is told once, and only when the sentence does not say it", () => {
    const cause = new Error("fetch failed", { cause: new Error("connect ECONNREFUSED") });
    const told = (message: string) => failureOf(refuse("CAUSEWAY_UNREACHABLE", message, { cause }))?.text;
    expect(told("nobody there")).toContain("cause: connect ECONNREFUSED");
    expect(told("nobody there: connect ECONNREFUSED")).not.toContain("cause:");
  });

  test("a defect shows its stack and no made-up explanation", () => {
    const failure = failureOf(new TypeError("x is not a function"));
    expect(failure?.text).toContain("[CAUSEWAY_INTERNAL]");
    expect(failure?.text).toContain("TypeError: x is not a function\n    at ");
    expect(failure?.exitCode).toBe(1);
    expect(CausewayError.from(new Error("x")).code).toBe("CAUSEWAY_INTERNAL");
  });
});

describe("a wrong command line", () => {
  function parse(...args: string[]): unknown {
    const program = new Command("causeway").exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
    program.version("1").command("status").option("--json");
    try {
      program.parse(args, { from: "user" });
    } catch (thrown) {
      return thrown;
    }
    return undefined;
  }

  test("is valid JSON with the parser's sentence, exit code 2, and is not said twice", () => {
    const failure = failureOf(parse("status", "--jsom"));
    expect(failure).toMatchObject({ exitCode: 2, text: "" });
    expect(JSON.parse(failure?.json ?? "")).toMatchObject({
      ok: false,
      error: { code: "CAUSEWAY_MISUSE", message: expect.stringContaining("unknown option '--jsom'") },
    });
  });

  test("help and version are no failure", () => {
    for (const option of ["--help", "--version"]) {
      const thrown = parse(option);
      expect(thrown).toBeInstanceOf(CommanderError);
      expect(failureOf(thrown)).toBeUndefined();
    }
  });
});
