/**
 * Encodes an X.509 certificate from its parts and signs it. It writes what it is given: which parts a certificate of the
 * profile has is decided in `issue.ts`.
 */
import type { UnixMs } from "@causeway/core-base";
import { writeTime } from "./asn1-time.ts";
import { integer, sequence, tagged, unsigned } from "./der-writer.ts";
import { extensionsField } from "./extensions.ts";
import type { SigningKey } from "./ports.ts";
import { sign } from "./signed.ts";

/** When a certificate is valid. Cut to whole seconds. */
export interface Validity {
  readonly notBefore: UnixMs;
  readonly notAfter: UnixMs;
}

/** The parts of a certificate. */
export interface CertificateContent {
  readonly serial: Uint8Array;
  /** Name, encoded. */
  readonly issuer: Uint8Array;
  /** Name, encoded. */
  readonly subject: Uint8Array;
  readonly validity: Validity;
  readonly spki: Uint8Array;
  /** Encoded extensions in order. */
  readonly extensions: readonly Uint8Array[];
}

/** Signs a certificate with the issuer's key, DER. */
export function encodeCertificate(key: SigningKey, content: CertificateContent): Uint8Array {
  return sign(key, (algorithm) =>
    sequence(
      tagged(0, integer(2)),
      unsigned(content.serial),
      algorithm,
      content.issuer,
      sequence(writeTime(content.validity.notBefore), writeTime(content.validity.notAfter)),
      content.subject,
      content.spki,
      extensionsField(3, content.extensions),
    ),
  );
}
