/**
 * An answer on the network: the result of an A2A operation, or an A2A error by its reason. A2A errors are results of
 * the remote agent, so they travel as data and not as failures of the network.
 */
import * as errors from "@a2a-js/sdk/errors";
import { CausewayError } from "@causeway/core-base";

/** What one part of an answer holds. */
export type Outcome = { readonly ok: unknown } | { readonly error: ErrorOutcome };

interface ErrorOutcome {
  readonly reason: string;
  readonly message: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Error classes that a client tells apart, by their reason. */
const classes = [
  errors.TaskNotFoundError,
  errors.TaskNotCancelableError,
  errors.PushNotificationNotSupportedError,
  errors.UnsupportedOperationError,
  errors.ContentTypeNotSupportedError,
  errors.InvalidAgentResponseError,
  errors.ExtendedAgentCardNotConfiguredError,
  errors.ExtensionSupportRequiredError,
  errors.VersionNotSupportedError,
  errors.RequestMalformedError,
] as const;
const classByReason = new Map(classes.map((make) => [new make().reason, make] as const));

/** An A2A error as data. Undefined for anything else, which stays a failure. */
export function errorOutcome(thrown: unknown): Outcome | undefined {
  if (!(thrown instanceof errors.A2AError)) return undefined;
  const metadata = thrown.metadata;
  return { error: { reason: thrown.reason, message: thrown.message, ...(metadata && { metadata }) } };
}

/** The result inside an answer. Throws the A2A error that it carries, or InvalidAgentResponse. */
export function resultOf(data: unknown): unknown {
  if (typeof data === "object" && data !== null) {
    if ("ok" in data) return data.ok;
    if ("error" in data && isErrorOutcome(data.error)) throw rebuild(data.error);
  }
  throw new errors.InvalidAgentResponseError("the remote bridge sent an answer that is neither a result nor an error");
}

/** A failure of the network in A2A's terms: what the client of the endpoint sees. */
export function asA2aError(thrown: unknown): Error {
  if (thrown instanceof errors.A2AError) return thrown;
  const error = CausewayError.from(thrown);
  const options = {
    message: `${error.message} [${error.code}]`,
    metadata: { causewayCode: error.code, ...error.details },
  };
  return error.code === "CAUSEWAY_AGENT_NO_HANDLER"
    ? new errors.UnsupportedOperationError(options)
    : new errors.A2AError(options);
}

function rebuild(outcome: ErrorOutcome): Error {
  const options = { message: outcome.message, ...(outcome.metadata && { metadata: { ...outcome.metadata } }) };
  const make = classByReason.get(outcome.reason);
  return make === undefined ? new errors.A2AError(options) : new make(options);
}

function isErrorOutcome(value: unknown): value is ErrorOutcome {
  return (
    typeof value === "object" &&
    value !== null &&
    "reason" in value &&
    typeof value.reason === "string" &&
    "message" in value &&
    typeof value.message === "string"
  );
}
