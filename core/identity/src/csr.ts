/**
 * Certificate requests (PKCS#10, RFC 2986): the applicant's key, the name that it asks for, and a signature by that key
 * as proof of possession (ANA-61). The authority takes nothing else from a request: role, purpose and lifetime are its
 * own decision.
 */
import { type AgentId, isCausewayError, parseAgentId } from "@causeway/core-base";
import { toHex } from "./bytes.ts";
import { contextConstructed, DerError, type DerReader, tags } from "./der-reader.ts";
import { integer, sequence, setOf, tagged } from "./der-writer.ts";
import { emptyName, readName } from "./distinguished-name.ts";
import { type Extensions, hostsOf, readExtensions, subjectAltName } from "./extensions.ts";
import { oids } from "./oids.ts";
import type { CryptoPort, SigningKey } from "./ports.ts";
import { acceptKey, type KeyKind, parsePublicKey } from "./public-key.ts";
import { contentOf, isSignedBy, malformed, parsing, readSigned, sign } from "./signed.ts";

/** A certificate request whose proof of possession was checked. */
export interface CertificateRequest {
  readonly spiffeId: AgentId;
  readonly spki: Uint8Array;
  readonly keyKind: KeyKind;
  /** Requested DNS names and IP addresses. */
  readonly hosts: readonly string[];
}

/** PKCS#10 request for a SPIFFE ID, DER. */
export function createCsr(
  key: SigningKey,
  options: { readonly spiffeId: AgentId; readonly hosts?: readonly string[] },
): Uint8Array {
  const extensions = sequence(subjectAltName(options.spiffeId, options.hosts ?? []));
  const attribute = sequence(oids.extensionRequest.der, setOf(extensions));
  return sign(key, () => sequence(integer(0), emptyName, key.spki, tagged(0, attribute)));
}

/**
 * Reads a request and checks its key and its proof of possession. Throws `CAUSEWAY_IDENTITY_KEY_REFUSED` for a key that
 * is not accepted and `CAUSEWAY_IDENTITY_CSR_INVALID` for everything else.
 */
export function parseCsr(crypto: CryptoPort, der: Uint8Array): CertificateRequest {
  return parsing("CAUSEWAY_IDENTITY_CSR_INVALID", "a certificate request", () => {
    const signed = readSigned(der, csrBytesMax);
    const v = contentOf(signed);
    if (v.small() !== 0) throw new DerError("it is not of version 1");
    readName(v);
    const spki = v.whole(tags.sequence);
    const keyKind = acceptKey(spki);
    const attributes = v.enter(contextConstructed(0));
    v.end();
    const extensions = readRequestedExtensions(attributes);
    if (!isSignedBy(crypto, signed, parsePublicKey(spki))) {
      throw new DerError("it is not signed by the key that it asks a certificate for");
    }
    return { spiffeId: requestedId(extensions), spki, keyKind, hosts: hostsOf(extensions?.altNames) };
  });
}

function readRequestedExtensions(attributes: DerReader): Extensions | undefined {
  let found: Extensions | undefined;
  while (!attributes.done) {
    const attribute = attributes.enter(tags.sequence);
    const id = toHex(attribute.oid());
    const values = attribute.enter(tags.set);
    attribute.end();
    if (id === oids.extensionRequest.hex) {
      if (found !== undefined) throw new DerError("it asks for extensions twice");
      found = readExtensions(values.enter(tags.sequence));
      values.end();
    }
  }
  return found;
}

function requestedId(extensions: Extensions | undefined): AgentId {
  const uris = extensions?.altNames?.uris ?? [];
  const [uri] = uris;
  if (uri === undefined || uris.length !== 1 || !uri.startsWith("spiffe://")) {
    throw new DerError(`it has to ask for exactly one SPIFFE ID, it asks for ${uris.length} URI names`);
  }
  try {
    return parseAgentId(uri);
  } catch (thrown) {
    if (!isCausewayError(thrown)) throw thrown;
    throw malformed("CAUSEWAY_IDENTITY_CSR_INVALID", "a certificate request", thrown.message);
  }
}

/** Longest certificate request in bytes. */
const csrBytesMax = 16_384;
