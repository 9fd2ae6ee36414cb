/**
 * Names of issuers and subjects. They only link a certificate to its issuer, so they are compared byte by byte (RFC 5280
 * allows more, which no issuer of this profile uses) and never say who somebody is: the URI name does.
 */
import { DerError, DerReader, tags } from "./der-reader.ts";
import { ascii, sequence, setOf } from "./der-writer.ts";
import { oids } from "./oids.ts";

/** Reads a Name as its encoded bytes after checking its structure. */
export function readName(reader: DerReader): Uint8Array {
  const whole = reader.whole(tags.sequence);
  const parts = new DerReader(whole).enter(tags.sequence);
  for (let count = 0; !parts.done; count++) {
    if (count >= namePartsMax) throw new DerError(`a name has more than ${namePartsMax} parts`);
    const part = parts.enter(tags.set);
    do {
      const attribute = part.enter(tags.sequence);
      attribute.oid();
      attribute.any();
      attribute.end();
    } while (!part.done);
  }
  return whole;
}

/** A name with one common name. */
export const commonName = (text: string): Uint8Array =>
  sequence(setOf(sequence(oids.commonName.der, ascii(tags.utf8String, text.slice(0, commonNameMax)))));

/** The name without any part, which leaves have. */
export const emptyName: Uint8Array = sequence();

/** True for the name without any part. */
export const isEmptyName = (name: Uint8Array): boolean => name.length === 2;

/** Most parts of a name. */
const namePartsMax = 16;
/** Upper bound of X.520 for a common name. */
const commonNameMax = 64;
