/**
 * A certified domain for the tests of this room: real certificates, verified by OpenSSL in the handshake. Which
 * identities are acceptable is the business of the tls adapter; here every certificate under the root is.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from "node:crypto";
import type { ConnectionOptions, TLSSocket, TlsOptions } from "node:tls";
import { asUnixMs, parseAgentId, parseDomain, refuse } from "@causeway/core-base";
import { type CryptoPort, createIssuing, createRoot, encodePem, issueLeaf, type SigningKey, type VerifiedPeer } from "@causeway/core-identity";
import { createPort, type Port, type PortAddress, type PortOptions } from "../port.ts";

const crypto: CryptoPort = {
  sha256: (data) => createHash("sha256").update(data).digest(),
  verify: (spki, message, signature) => verify("sha256", message, { key: Buffer.from(spki), format: "der", type: "spki" }, signature),
  randomBytes: (length) => randomBytes(length),
};

interface TestKey extends SigningKey {
  readonly pem: string;
}

function newKey(): TestKey {
  const { privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    spki: publicKey.export({ format: "der", type: "spki" }),
    pem: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    sign: (message) => sign("sha256", message, privateKey),
  };
}

/** PEM of one end of a connection. */
export interface TestIdentity {
  readonly key: string;
  readonly cert: string;
}

/** A domain with its own root. */
export class TestDomain {
  readonly rootPem: string;
  readonly #name: string;
  readonly #issuingKey = newKey();
  readonly #issuing: Uint8Array;
  readonly #validity = { notBefore: asUnixMs(Date.now() - 60_000), notAfter: asUnixMs(Date.now() + 3_600_000) };

  constructor(name = "blue.example") {
    this.#name = name;
    const domain = parseDomain(name);
    const rootKey = newKey();
    const root = createRoot(crypto, { ...this.#validity, domain, key: rootKey });
    this.#issuing = createIssuing(crypto, { certificate: root, key: rootKey }, { ...this.#validity, domain, spki: this.#issuingKey.spki });
    this.rootPem = encodePem("CERTIFICATE", root);
  }

  /** The identity `spiffe://<domain>/<path>`. */
  identity(path: string): TestIdentity {
    const key = newKey();
    const leaf = issueLeaf(crypto, { certificate: this.#issuing, key: this.#issuingKey }, {
      ...this.#validity,
      spki: key.spki,
      spiffeId: parseAgentId(`${this.#name}/${path}`),
      role: "agent",
      purpose: "tls",
      hosts: ["127.0.0.1", "localhost"],
    });
    return { key: key.pem, cert: encodePem("CERTIFICATE", leaf.certificate, this.#issuing) };
  }

  serverTls(path = "gateway/gw1"): TlsOptions {
    return { ...this.identity(path), ca: this.rootPem, rejectUnauthorized: true };
  }

  clientTls(path: string): ConnectionOptions {
    return { ...this.identity(path), ca: this.rootPem };
  }
}

/** Reads the name that OpenSSL has verified. */
export function authenticate(socket: TLSSocket): VerifiedPeer {
  const name = socket.getPeerX509Certificate()?.subjectAltName ?? "";
  const uri = /URI:([^,]+)/.exec(name)?.[1];
  if (!socket.authorized || uri === undefined) throw refuse("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING", "expected a certificate, got none");
  const peer: Pick<VerifiedPeer, "spiffeId" | "role"> = { spiffeId: parseAgentId(uri), role: "agent" };
  return peer as VerifiedPeer;
}

/** A started port that the test closes with `await using`. */
export async function startPort(domain: TestDomain, options: Partial<PortOptions> = {}): Promise<{ port: Port; address: PortAddress } & AsyncDisposable> {
  const tls = domain.serverTls();
  const port = createPort({ tls: () => tls, port: 0, authenticate, ...options });
  const address = await port.start();
  return { port, address, [Symbol.asyncDispose]: () => port.stop({ deadlineMs: 200 }) };
}

/** Options that dial `address` as `path`. */
export function dialOptions(domain: TestDomain, address: PortAddress, path = "travel/booker") {
  const tls = domain.clientTls(path);
  return { url: address.url, tls: () => tls, authenticate };
}
