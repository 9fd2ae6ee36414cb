/**
 * Certified identities with keyed hashes for signatures: every `VerifiedPeer` went through the real verifier, only the
 * arithmetic of the signatures is replaced. Making certificates is what costs time, so a process makes each once.
 */
import { createHash } from "node:crypto";
import type { Domain } from "@causeway/core-base";
import type { CryptoPort, Signer, VerifiedPeer } from "@causeway/core-identity";
import { createTestDomain, type TestDomain } from "@causeway/core-identity/testing";
import { KeyedSignatures } from "@causeway/core-records/testing";

/** One party: what TLS proves of it, and what it signs with. */
export interface SimIdentity {
  readonly peer: VerifiedPeer;
  /** Signs records, origin statements and receipts. */
  readonly recordSigner: Signer;
  /** Signs proofs and leases. */
  readonly tlsSigner: Signer;
}

/** Keyed signatures of records; shared by all worlds, since it holds names only. */
export const signatures = new KeyedSignatures();

const hash = (...parts: readonly Uint8Array[]): Uint8Array => {
  const sum = createHash("sha256");
  for (const part of parts) sum.update(part);
  return new Uint8Array(sum.digest());
};

/** Signatures by hash over key and message. */
export const simCrypto: CryptoPort = {
  sha256: (data) => hash(data),
  verify: (spki, message, signature) => Buffer.compare(hash(spki, message), signature) === 0,
  randomBytes: () => {
    throw new Error("expected randomness from the seed");
  },
};

/** A gateway named `core…` is Level 2, one named `edge…` Level 1. */
export function gatewayIdentity(domain: Domain, name: string): SimIdentity {
  const level = name.startsWith("core") ? 2 : 1;
  return identityOf(`${domain} gateway ${name}`, () =>
    testDomain(domain).peer(`gateway/${name}`, {
      role: "gateway",
      gateway: { uri: `https://${name}.${domain}/amsp`, level },
    }),
  );
}

export function registryIdentity(domain: Domain): SimIdentity {
  return identityOf(`${domain} registry`, () => testDomain(domain).peer("registry/ars", { role: "registry" }));
}

export function agentIdentity(domain: Domain, path: string): SimIdentity {
  return identityOf(`${domain} agent ${path}`, () => testDomain(domain).peer(path, { role: "agent" }));
}

const domains = new Map<string, TestDomain>();
const identities = new Map<string, SimIdentity>();

function testDomain(name: Domain): TestDomain {
  const known = domains.get(name) ?? createTestDomain(name);
  domains.set(name, known);
  return known;
}

function identityOf(key: string, certify: () => VerifiedPeer): SimIdentity {
  const known = identities.get(key);
  if (known !== undefined) return known;
  const peer = certify();
  const made: SimIdentity = {
    peer,
    recordSigner: signatures.enrol(peer),
    tlsSigner: { chain: [], spki: peer.spki, sign: (message) => hash(peer.spki, message) },
  };
  identities.set(key, made);
  return made;
}
