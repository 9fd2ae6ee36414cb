/**
 * Judges MLS credentials: an X.509 chain of an authority that we trust, whose leaf certifies the MLS key and whose
 * SPIFFE ID is the member's name (AGP-30, AGP-32), and whose role is one that talks end to end: a gateway is nobody's
 * group member, whatever its authority has certified (AAP-98). Verified chains are remembered until the trust store changes.
 */
import { createHash } from "node:crypto";
import { type AgentId, agentOf, refuse, type UnixMs } from "@causeway/core-base";
import { rolesFor, type VerifiedPeer } from "@causeway/core-identity";
import type { Credential, LeafNode } from "./library.ts";
import type { UnixClock, VerifyLeaf } from "./ports.ts";

/** The part of a leaf node that names a member. */
export type CredentialHolder = Pick<LeafNode, "credential" | "signaturePublicKey">;

export class CredentialJudge {
  readonly #verifyLeaf: VerifyLeaf;
  readonly #clock: UnixClock;
  readonly #known = new Map<string, VerifiedPeer>();
  #trustVersion = 0;

  constructor(verifyLeaf: VerifyLeaf, clock: UnixClock) {
    this.#verifyLeaf = verifyLeaf;
    this.#clock = clock;
  }

  /** Grows with each change of the trust store. */
  get trustVersion(): number {
    return this.#trustVersion;
  }

  trustChanged(): void {
    this.#trustVersion++;
    this.#known.clear();
  }

  /** Verifies the chain, its time and that it certifies the key. Throws the `CAUSEWAY_IDENTITY_*` codes. */
  verify(holder: CredentialHolder): VerifiedPeer {
    const chain = chainOf(holder.credential);
    const id = chainId(chain, holder.signaturePublicKey);
    const now = this.#clock();
    let peer = this.#known.get(id);
    if (peer === undefined || peer.notAfter <= now) {
      peer = this.#verifyLeaf(chain);
      if (peer.purpose !== "mls") {
        throw refuse(
          "CAUSEWAY_IDENTITY_ROLE_WRONG",
          `expected a certificate for MLS, got one for ${peer.purpose} of ${peer.spiffeId}`,
        );
      }
      if (!memberRoles.includes(peer.role)) {
        throw refuse(
          "CAUSEWAY_IDENTITY_ROLE_WRONG",
          `expected a group member with the role ${memberRoles.join(" or ")}, got ${peer.spiffeId} with the role ${peer.role}`,
        );
      }
      if (!certifies(peer.spki, holder.signaturePublicKey)) {
        throw refuse(
          "CAUSEWAY_IDENTITY_MISMATCH",
          `the certificate of ${peer.spiffeId} is not for the key of the MLS leaf`,
        );
      }
      if (this.#known.size >= knownMax) this.#known.clear();
      this.#known.set(id, peer);
    }
    return peer;
  }

  /** Name of a member whose credential was verified before; verifies it when this process has not. */
  nameOf(holder: CredentialHolder): AgentId {
    return agentOf(this.verify(holder).spiffeId);
  }

  /** Until when the credential is good. */
  expiry(holder: CredentialHolder): UnixMs {
    return this.verify(holder).notAfter;
  }
}

/** The chain of an X.509 credential. Throws for any other type of credential. */
export function chainOf(credential: Credential): readonly Uint8Array[] {
  if (credential.credentialType !== "x509" || !("certificates" in credential)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING",
      `expected an X.509 credential, got ${credential.credentialType}`,
    );
  }
  return credential.certificates;
}

/** True when the SubjectPublicKeyInfo holds exactly this Ed25519 key. */
export function certifies(spki: Uint8Array, publicKey: Uint8Array): boolean {
  return (
    publicKey.length === 32 &&
    spki.length === ed25519Prefix.length + 32 &&
    Buffer.compare(spki.subarray(0, ed25519Prefix.length), ed25519Prefix) === 0 &&
    Buffer.compare(spki.subarray(ed25519Prefix.length), publicKey) === 0
  );
}

function chainId(chain: readonly Uint8Array[], publicKey: Uint8Array): string {
  const digest = createHash("sha256").update(publicKey);
  for (const certificate of chain) digest.update(certificate);
  return digest.digest("base64");
}

/** The roles whose leaves may be members of groups. */
const memberRoles = rolesFor("mls");
const ed25519Prefix = Buffer.from("302a300506032b6570032100", "hex");
/** Verified chains kept; emptied when full. */
const knownMax = 4096;
