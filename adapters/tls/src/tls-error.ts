/** Names what Node and OpenSSL report about a TLS connection in the table of errors. */
import { CausewayError, type ErrorCode, isCausewayError, refuse } from "@causeway/core-base";

/** The error of the table for anything that a client's TLS socket fails with. `where` names the other end. */
export function tlsErrorOf(thrown: unknown, where = "the server"): CausewayError {
  if (isCausewayError(thrown)) return thrown;
  const code = thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";
  const judged = verdicts[code];
  if (judged !== undefined)
    return refuse(judged, `the certificate of ${where} is not accepted (${code})`, { cause: thrown });
  const alert = alerts.find(([name]) => code.includes(name));
  if (alert !== undefined) return refuse(alert[1], `${where} refused the handshake (${code})`, { cause: thrown });
  if (code.startsWith("ERR_SSL_")) {
    return refuse("CAUSEWAY_UNREACHABLE", `expected a TLS 1.3 server at ${where}, the handshake failed (${code})`, {
      cause: thrown,
    });
  }
  if (unreachable.has(code))
    return refuse("CAUSEWAY_UNREACHABLE", `${where} cannot be reached (${code})`, { cause: thrown });
  return CausewayError.from(thrown);
}

/** OpenSSL's verdicts on the server's path, by the names that Node gives them. */
const verdicts: Readonly<Record<string, ErrorCode>> = {
  CERT_HAS_EXPIRED: "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
  CERT_NOT_YET_VALID: "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
  CERT_REVOKED: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
  DEPTH_ZERO_SELF_SIGNED_CERT: "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
  SELF_SIGNED_CERT_IN_CHAIN: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  UNABLE_TO_GET_ISSUER_CERT: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  CERT_SIGNATURE_FAILURE: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  CERT_UNTRUSTED: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  CERT_REJECTED: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  INVALID_CA: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  INVALID_PURPOSE: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  PATH_LENGTH_EXCEEDED: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  PERMITTED_VIOLATION: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
};

/** Alerts by which a server refuses our certificate. */
const alerts: readonly (readonly [string, ErrorCode])[] = [
  ["ALERT_CERTIFICATE_REQUIRED", "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING"],
  ["ALERT_CERTIFICATE_EXPIRED", "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED"],
  ["ALERT_CERTIFICATE_REVOKED", "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED"],
  ["ALERT_UNKNOWN_CA", "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED"],
];

/** System errors of a connection that never was or is gone. */
const unreachable: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EPIPE",
  "ETIMEDOUT",
]);
