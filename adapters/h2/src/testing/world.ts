/** A certified domain for the tests of this room, with the certificates, the verifier and the TLS options of production. */
import type { ConnectionOptions, TlsOptions } from "node:tls";
import { clientOptions, serverOptions, tlsErrorOf, verifiedPeerOf, verifiedServerOf } from "@causeway/adapter-tls";
import { asUnixMs, type UnixMs } from "@causeway/core-base";
import { encodePem, type TrustStore, type VerifiedPeer } from "@causeway/core-identity";
import { createTestDomain, type TestDomain as IdentityDomain } from "@causeway/core-identity/testing";
import type { DialOptions } from "../dial.ts";
import { createPort, type Port, type PortAddress, type PortOptions } from "../port.ts";
import type { JudgedSocket } from "../port-socket.ts";

const clock = (): UnixMs => asUnixMs(Date.now());

/** PEM of one end of a connection, for clients that are not ours. */
export interface TestIdentity {
  readonly key: string;
  readonly cert: string;
}

/** A domain with its own root. */
export class TestDomain {
  readonly identities: IdentityDomain;
  readonly trust: TrustStore;
  readonly rootPem: string;

  constructor(name = "blue.example") {
    this.identities = createTestDomain(name, { now: clock() });
    this.trust = this.identities.store();
    this.rootPem = encodePem("CERTIFICATE", this.identities.root.certificate);
  }

  /** The identity `spiffe://<domain>/<path>`. */
  identity(path: string): TestIdentity {
    const { key, chainPem } = this.identities.identity(path).tls();
    return { key, cert: chainPem };
  }

  serverTls(path = "gateway/gw1"): TlsOptions {
    const identity = this.identities.identity(path, { role: "gateway" }).tls();
    return serverOptions(identity);
  }

  /** For clients that are not ours: OpenSSL judges the server by the root. */
  clientTls(path: string): ConnectionOptions {
    return { ...this.identity(path), ca: this.rootPem };
  }

  /** Judges a client. */
  readonly authenticate = (socket: JudgedSocket): VerifiedPeer => verifiedPeerOf(socket, this.trust, clock());

  /** Options that dial `address` as `path` of this domain, or of `from`. */
  dial(address: PortAddress, path = "travel/booker", from: TestDomain = this): DialOptions {
    const identity = from.identities.identity(path).tls();
    const client = { identity, trust: this.trust, expect: { roles: ["gateway"] as const }, now: clock };
    return {
      url: address.url,
      tls: () => clientOptions(client),
      authenticate: (socket) => verifiedServerOf(socket, client),
      explain: tlsErrorOf,
    };
  }
}

let workers = 0;

/** Gives every port that is started from now on so many IO workers. */
export function startPortsWith(count: number): void {
  workers = count;
}

/** A started port that the test closes with `await using`. */
export async function startPort(
  domain: TestDomain,
  options: Partial<PortOptions> = {},
): Promise<{ port: Port; address: PortAddress } & AsyncDisposable> {
  const tls = domain.serverTls();
  const port = createPort({ tls: () => tls, port: 0, workers, authenticate: domain.authenticate, ...options });
  const address = await port.start();
  return { port, address, [Symbol.asyncDispose]: () => port.stop({ deadlineMs: 200 }) };
}
