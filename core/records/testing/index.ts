/**
 * Records for tests and simulations: signatures by keyed hash instead of public-key cryptography, under the same rules
 * of who may sign what.
 */
import { createHash } from "node:crypto";
import { type AgentId, asUnixMs, parseAgentId, refuse, type UnixMs } from "@causeway/core-base";
import type { LabelledBytes, Role, Signer, VerifiedPeer } from "@causeway/core-identity";
import type { common } from "@causeway/core-wire";
import {
  createRecordVerifier,
  type RecordDraft,
  type RecordVerifier,
  type RegisteredRecord,
  type SignaturePort,
  signReceipt,
  signRecord,
} from "../src/index.ts";

const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

/** A signature port whose keys are names. Who is not enrolled cannot sign. */
export class KeyedSignatures implements SignaturePort {
  readonly #peers = new Map<string, VerifiedPeer>();
  /** How many signatures were checked. */
  checked = 0;

  sha256(data: Uint8Array): Uint8Array {
    return sha256(data);
  }

  enrol(peer: VerifiedPeer): Signer {
    this.#peers.set(peer.spiffeId, peer);
    const name = new TextEncoder().encode(peer.spiffeId);
    return { chain: [name], spki: peer.spki, sign: (message) => sha256(name, message) };
  }

  verify(
    signature: common.Signature | undefined,
    message: LabelledBytes,
    options: { readonly now: UnixMs; readonly signedAt: UnixMs; readonly roles: readonly Role[] },
  ): VerifiedPeer {
    this.checked += 1;
    const [name = new Uint8Array()] = signature?.chain ?? [];
    const peer = this.#peers.get(new TextDecoder().decode(name));
    if (peer === undefined || signature === undefined) {
      throw refuse("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED", "expected an enrolled signer");
    }
    if (!options.roles.includes(peer.role)) {
      throw refuse("CAUSEWAY_IDENTITY_ROLE_WRONG", `expected ${options.roles.join(" or ")}, got ${peer.role}`);
    }
    if (Buffer.compare(signature.value, sha256(name, message)) !== 0) {
      throw refuse("CAUSEWAY_IDENTITY_SIGNATURE_INVALID", `the signature is not one of ${peer.spiffeId}`);
    }
    return peer;
  }

  verifier(): RecordVerifier {
    return createRecordVerifier(this);
  }
}

/** What a test card says; everything has a default. */
export interface TestCard {
  readonly name?: string;
  readonly description?: string;
  readonly version?: string;
  readonly skills?: readonly Readonly<Record<string, unknown>>[];
  readonly [extension: string]: unknown;
}

/** Bytes of a valid AgentCard. */
export function testCard(card: TestCard = {}): Uint8Array {
  const whole = {
    name: "Flight booker",
    description: "Books flights",
    version: "1.0.0",
    skills: [{ id: "book-flight", name: "Book a flight", description: "Finds and books flights", tags: ["travel"] }],
    ...card,
  };
  return new TextEncoder().encode(JSON.stringify(whole));
}

/** A valid draft for an agent. */
export function testDraft(agent: string, more: Partial<RecordDraft> = {}): RecordDraft {
  return {
    agentId: parseAgentId(agent),
    agentCard: testCard(),
    revision: 1n,
    updatedAt: asUnixMs(1_767_225_600_000),
    ...more,
  };
}

/** Signs a draft as the agent, registers it at the registry, and verifies both: what a gateway may announce. */
export function registerRecord(
  signatures: KeyedSignatures,
  agent: Signer,
  registry: Signer,
  draft: RecordDraft,
  now: UnixMs,
): RegisteredRecord {
  const verifier = signatures.verifier();
  const record = verifier.verifyRecord(signRecord(agent, draft), now);
  const receipt = signReceipt(registry, {
    agentId: draft.agentId satisfies AgentId,
    resourceId: "r1",
    revision: draft.revision,
    bodyDigest: record.digest,
    issuedAt: now,
    expiresAt: asUnixMs(now + 86_400_000),
  });
  return verifier.verifyReceipt(record, receipt, now);
}
