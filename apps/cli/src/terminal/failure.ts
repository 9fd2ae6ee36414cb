/** What a failed command says, and its exit code. */
import { CausewayError, type ErrorCode, isCausewayError } from "@causeway/core-base";
import { CommanderError } from "commander";

/** How a command failed, ready to be written. */
export interface Failure {
  readonly exitCode: number;
  readonly code: ErrorCode;
  readonly message: string;
  /** One JSON value, for `--json`. */
  readonly json: string;
  /** For people. Empty when it was said already. */
  readonly text: string;
}

const exitCodes = { ok: 0, failed: 1, misuse: 2 } as const;

/** Exit code 2 is for what the caller has to correct in the command or the configuration, 1 for everything else. */
export function failureOf(thrown: unknown): Failure | undefined {
  if (thrown instanceof CommanderError) return commandLineFailure(thrown);
  const error = CausewayError.from(thrown);
  const lines = [`causeway: ${error.message} [${error.code}]`];
  if (error.retryable) lines.push("It may work later without a change.");
  const cause = deepestCause(thrown);
  // A defect of ours: the stack is what a report of it needs.
  if (!isCausewayError(thrown) && error.code === "CAUSEWAY_INTERNAL")
    lines.push(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
  else if (cause !== undefined && !error.message.includes(cause)) lines.push(`cause: ${cause}`);
  const isMisuse = error.family === "misuse" || error.code === "CAUSEWAY_NAME_INVALID";
  const { code, message, retryable, details } = error;
  return {
    exitCode: isMisuse ? exitCodes.misuse : exitCodes.failed,
    code,
    message,
    json: JSON.stringify({ ok: false, error: { code, message, retryable, details } }),
    text: lines.join("\n"),
  };
}

/** What went wrong in one sentence, also of an error that is not ours. */
export function sentenceOf(thrown: unknown): string {
  const error = CausewayError.from(thrown);
  const isForeign = error.code === "CAUSEWAY_INTERNAL" && !isCausewayError(thrown);
  return isForeign && thrown instanceof Error ? thrown.message : error.message;
}

/** Help and version are no failure; the rest was written by the parser. */
function commandLineFailure(thrown: CommanderError): Failure | undefined {
  if (thrown.exitCode === exitCodes.ok) return undefined;
  const message =
    thrown.code === "commander.help"
      ? "expected a command; causeway --help lists them"
      : thrown.message.replace(/^error: /, "");
  const code = "CAUSEWAY_MISUSE";
  const json = JSON.stringify({ ok: false, error: { code, message, retryable: false, details: {} } });
  return { exitCode: exitCodes.misuse, code, message, json, text: "" };
}

function deepestCause(thrown: unknown): string | undefined {
  let cause: unknown = thrown instanceof Error ? thrown.cause : undefined;
  for (let depth = 0; depth < 5 && cause instanceof Error && cause.cause instanceof Error; depth++) cause = cause.cause;
  return cause instanceof Error ? cause.message : undefined;
}
