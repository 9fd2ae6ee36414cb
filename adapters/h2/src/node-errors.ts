import { type CausewayError, isCausewayError, refuse } from "@causeway/core-base";

/**
 * Names a failure to reach `where`, or to keep the connection to it. The only place that knows Node's system errors;
 * `explain` names those of TLS.
 */
export function connectionError(thrown: unknown, where: string, explain?: (thrown: unknown) => unknown): CausewayError {
  if (isCausewayError(thrown)) return thrown;
  if (thrown instanceof Error && isCausewayError(thrown.cause)) return thrown.cause;
  const text = texts.get(systemCode(thrown) ?? "");
  const explained = text === undefined ? explain?.(thrown) : undefined;
  if (isCausewayError(explained)) return explained;
  const reason = text ?? (thrown instanceof Error ? thrown.message : "the connection ended");
  return refuse("CAUSEWAY_UNREACHABLE", `expected a connection to ${where}: ${reason}`, { cause: thrown });
}

/** Names a failure to listen. */
export function listenError(thrown: unknown, host: string, port: number): CausewayError {
  const code = systemCode(thrown);
  if (code === "EADDRINUSE") {
    return refuse(
      "CAUSEWAY_PORT_IN_USE",
      `expected port ${port} on ${host} to be free, but another process listens on it; choose another port or stop that process`,
      {
        cause: thrown,
        details: { host, port: String(port) },
      },
    );
  }
  const text = texts.get(code ?? "") ?? (thrown instanceof Error ? thrown.message : String(thrown));
  return refuse("CAUSEWAY_CONFIG_INVALID", `expected to listen on ${host}:${port}: ${text}`, { cause: thrown });
}

function systemCode(thrown: unknown): string | undefined {
  return typeof thrown === "object" && thrown !== null && "code" in thrown && typeof thrown.code === "string"
    ? thrown.code
    : undefined;
}

const texts: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "nothing listens there; check address and port, and that the service runs"],
  ["ENOTFOUND", "the host name does not resolve; check the address"],
  ["EAI_AGAIN", "the host name cannot be resolved now; check the name service"],
  ["ECONNRESET", "the other side reset the connection"],
  ["EPIPE", "the other side closed the connection"],
  ["ETIMEDOUT", "no answer came in time"],
  ["EHOSTUNREACH", "no route leads to the host"],
  ["ENETUNREACH", "the network is not reachable"],
  ["EACCES", "this user may not use the port; choose one above 1023"],
  ["EADDRNOTAVAIL", "the address does not belong to this machine"],
  ["ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "the other side does not speak HTTP/2"],
]);
