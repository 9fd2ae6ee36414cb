/**
 * The private, non-critical extension of the profile: what role an identity has, and for a gateway its URI, level and
 * namespaces (AMSP-103, AMSP-108). It is certified, so nobody can claim a role that the authority did not give.
 *
 *     Attributes ::= SEQUENCE { version INTEGER (1), role IA5String, gateway [0] Gateway OPTIONAL }
 *     Gateway    ::= SEQUENCE { uri IA5String, level INTEGER (1..2), namespaces SEQUENCE OF IA5String }
 */
import { isCausewayError, parseGatewayUri } from "@causeway/core-base";
import { contextConstructed, DerError, readOnly, tags } from "./der-reader.ts";
import { ascii, integer, sequence, tagged } from "./der-writer.ts";
import { type Role, roles } from "./ports.ts";
import type { CertifiedGateway } from "./verified-peer.ts";

/** Role and gateway attributes of a certificate. */
export interface Attributes {
  readonly role: Role;
  readonly gateway?: CertifiedGateway;
}

/** Reads the extension's value. A gateway has the gateway part, nobody else does. */
export function readAttributes(value: Uint8Array): Attributes {
  return readOnly(value, tags.sequence, (v) => {
    const version = v.small();
    if (version !== 1) throw new DerError(`version ${version} of the attributes is not known`);
    const name = v.ascii(tags.ia5String);
    const role = roles.find((r) => r === name);
    if (role === undefined) throw new DerError(`the role ${JSON.stringify(name.slice(0, 30))} is not known`);
    const part = v.enterOptional(contextConstructed(0));
    if ((part !== undefined) !== (role === "gateway"))
      throw new DerError("a gateway and nobody else has gateway attributes");
    if (part === undefined) return { role };
    const uri = part.ascii(tags.ia5String);
    const level = part.small();
    const list = part.enter(tags.sequence);
    part.end();
    const namespaces: string[] = [];
    while (!list.done) {
      const namespace = list.ascii(tags.ia5String);
      if (!namespacePattern.test(namespace)) throw new DerError("a namespace is not a path of whole segments");
      if (namespaces.push(namespace) > namespacesMax) throw new DerError(`more than ${namespacesMax} namespaces`);
    }
    if (level !== 1 && level !== 2) throw new DerError(`a gateway has level 1 or 2, not ${level}`);
    return { role, gateway: { uri: gatewayUriOf(uri), level, namespaces } };
  });
}

/** Writes the extension's value. */
export function writeAttributes(attributes: Attributes): Uint8Array {
  const { role, gateway } = attributes;
  const parts = [integer(1), ascii(tags.ia5String, role)];
  if (gateway !== undefined) {
    const namespaces = sequence(...gateway.namespaces.map((namespace) => ascii(tags.ia5String, namespace)));
    parts.push(tagged(0, ascii(tags.ia5String, gateway.uri), integer(gateway.level), namespaces));
  }
  return sequence(...parts);
}

function gatewayUriOf(text: string) {
  try {
    const uri = parseGatewayUri(text);
    if (uri === text) return uri;
  } catch (thrown) {
    if (!isCausewayError(thrown)) throw thrown;
  }
  throw new DerError(`not a gateway URI: ${JSON.stringify(text.slice(0, 100))}`);
}

const namespacePattern = /^[A-Za-z0-9._-]{1,255}(?:\/[A-Za-z0-9._-]{1,255}){0,15}$/;

/** Most namespaces of one gateway certificate. */
const namespacesMax = 64;
