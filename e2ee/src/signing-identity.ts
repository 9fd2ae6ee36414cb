/**
 * The certified signature key of this agent, and its replacement inside a group. The library renews the HPKE key of a
 * leaf in every commit with a path, but not credential and signature key. A rotating commit puts the new credential
 * into the own leaf first and signs each part with the key that its readers hold: the commit itself with the old key,
 * the new leaf and the group info with the new one (RFC 9420 section 12.4.2).
 */
import { type AgentId, agentOf, refuse } from "@causeway/core-base";
import { type CredentialJudge, certifies } from "./credentials.ts";
import { type CiphersuiteImpl, type ClientState, type Credential, leafToNodeIndex, toLeafIndex } from "./library.ts";
import { ed25519PublicKey } from "./node-crypto-provider.ts";
import type { MlsIdentity } from "./ports.ts";

export interface SigningIdentity {
  readonly chain: readonly Uint8Array[];
  readonly credential: Credential;
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
  /** Validity of the leaf certificate, Unix seconds. */
  readonly notBefore: bigint;
  readonly notAfter: bigint;
}

/** Checks that chain, key and name belong together. Throws the `CAUSEWAY_IDENTITY_*` codes. */
export function signingIdentity(mls: MlsIdentity, self: AgentId, judge: CredentialJudge): SigningIdentity {
  const publicKey = ed25519PublicKey(mls.privateKey);
  const chain = mls.chain.map((each) => each.slice());
  const credential: Credential = { credentialType: "x509", certificates: chain };
  const peer = judge.verify({ credential, signaturePublicKey: publicKey });
  if (agentOf(peer.spiffeId) !== self || !certifies(peer.spki, publicKey)) {
    throw refuse("CAUSEWAY_IDENTITY_MISMATCH", `expected an MLS certificate for ${self}, got one for ${peer.spiffeId}`);
  }
  return {
    chain,
    credential,
    privateKey: mls.privateKey.slice(),
    publicKey,
    notBefore: BigInt(Math.floor(peer.notBefore / 1000)),
    notAfter: BigInt(Math.floor(peer.notAfter / 1000)),
  };
}

export function sameChain(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((each, i) => Buffer.compare(each, b[i] ?? new Uint8Array()) === 0);
}

/** State and cryptography for one commit that replaces the own credential. */
export function rotating(
  state: ClientState,
  impl: CiphersuiteImpl,
  identity: SigningIdentity,
): { state: ClientState; impl: CiphersuiteImpl; adopt: (next: ClientState) => ClientState } {
  const index = leafToNodeIndex(toLeafIndex(state.privatePath.leafIndex));
  const node = state.ratchetTree[index];
  if (node?.nodeType !== "leaf") throw refuse("CAUSEWAY_INTERNAL", "the own leaf is blank");
  const ratchetTree = state.ratchetTree.slice();
  ratchetTree[index] = {
    nodeType: "leaf",
    leaf: { ...node.leaf, credential: identity.credential, signaturePublicKey: identity.publicKey },
  };
  const sign: CiphersuiteImpl["signature"]["sign"] = (key, message) =>
    impl.signature.sign(labelOf(message) === commitLabel ? key : identity.privateKey, message);
  return {
    state: { ...state, ratchetTree },
    impl: { ...impl, signature: { ...impl.signature, sign } },
    adopt: (next) => ({ ...next, signaturePrivateKey: identity.privateKey }),
  };
}

/** The label in front of every signed content: one length byte, then the text (RFC 9420 section 5.1.2). */
function labelOf(message: Uint8Array): string {
  return Buffer.from(message.subarray(1, 1 + (message[0] ?? 0))).toString();
}

const commitLabel = "MLS 1.0 FramedContentTBS";
