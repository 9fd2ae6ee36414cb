/** Identities as they come from the harness, inside a child process. */
import { createPrivateKey, sign } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { fromBinary } from "@bufbuild/protobuf";
import { nodeCrypto } from "@causeway/adapter-keys";
import {
  type ClientTls,
  clientOptions,
  type PeerSocket,
  serverOptions,
  tlsErrorOf,
  verifiedPeerOf,
  verifiedServerOf,
} from "@causeway/adapter-tls";
import { asUnixMs, type UnixMs } from "@causeway/core-base";
import { type Purpose, type Signer, TrustStore } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import type { IdentityMaterial } from "./certificates.ts";

export const clock = (): UnixMs => asUnixMs(Date.now());

/** The trust store with the bench's domain in it. */
export function trustFrom(state: string): TrustStore {
  const trust = new TrustStore(nodeCrypto);
  const problems = trust.replace(fromBinary(aca.TrustStateSchema, Buffer.from(state, "base64")));
  if (problems.length > 0) throw new Error(`the bench's own trust state is refused: ${JSON.stringify(problems)}`);
  return trust;
}

/** Signs with one of the identity's keys. */
export function signerOf(material: IdentityMaterial, purpose: Purpose): Signer {
  const key = createPrivateKey(material.keys[purpose]);
  return {
    chain: material.chains[purpose].map((der) => new Uint8Array(Buffer.from(der, "base64"))),
    spki: new Uint8Array(0),
    sign: (message) => new Uint8Array(sign(purpose === "tls" ? "sha256" : null, message, key)),
  };
}

/** Options for a port that accepts the bench's identities. */
export function serverSide(material: IdentityMaterial, trust: TrustStore) {
  const identity = { key: material.keys.tls, chainPem: material.chainPem };
  return {
    tls: () => serverOptions(identity),
    authenticate: (socket: PeerSocket) => verifiedPeerOf(socket, trust, clock()),
  };
}

/** Options for a link to the bench's gateway. */
export function clientSide(url: string, material: IdentityMaterial, trust: TrustStore) {
  const client: ClientTls = {
    identity: { key: material.keys.tls, chainPem: material.chainPem },
    trust,
    expect: { roles: ["gateway"] },
    now: clock,
  };
  return {
    url,
    tls: () => clientOptions(client),
    authenticate(socket: TLSSocket) {
      tlsFacts["TLS causeway and link"] = `${socket.getProtocol()} ${socket.getCipher().name}`;
      return verifiedServerOf(socket, client);
    },
    explain: tlsErrorOf,
  };
}

/** What the connections of this process negotiated. */
export const tlsFacts: Record<string, string> = {};
