/**
 * The one door to the MLS library. Refuses to load when the fixes of `e2ee/patches` are missing, so that no process
 * runs with the defects (docs/adr/0010). Modules are named one by one: the library's index also loads a provider whose
 * dependencies it does not install.
 */
import { refuse } from "@causeway/core-base";
import * as externalSender from "ts-mls/externalSender.js";

if (!("decodeExternalSenders" in externalSender)) {
  throw refuse(
    "CAUSEWAY_CONFIG_INVALID",
    "the installed MLS library lacks the fixes of this repository; run `node e2ee/patches/apply.mjs` (npm start and npm test do it)",
  );
}

export type { Capabilities } from "ts-mls/capabilities.js";
export type { ClientConfig } from "ts-mls/clientConfig.js";
export { type ClientState, createGroup, decodeGroupState, encodeGroupState, joinGroup } from "ts-mls/clientState.js";
export { encode } from "ts-mls/codec/tlsEncoder.js";
export { createCommit } from "ts-mls/createCommit.js";
export { createApplicationMessage, createProposal } from "ts-mls/createMessage.js";
export type { Credential } from "ts-mls/credential.js";
export {
  type CiphersuiteImpl,
  type CiphersuiteName,
  getCiphersuiteFromName,
} from "ts-mls/crypto/ciphersuite.js";
export type { Hpke, PrivateKey, PublicKey } from "ts-mls/crypto/hpke.js";
export type { CryptoProvider } from "ts-mls/crypto/provider.js";
export type { Extension } from "ts-mls/extension.js";
export type { IncomingMessageCallback } from "ts-mls/incomingMessageAction.js";
export {
  decodeKeyPackage,
  encodeKeyPackage,
  generateKeyPackageWithKey,
  type KeyPackage,
  makeKeyPackageRef,
  type PrivateKeyPackage,
  verifyKeyPackage,
} from "ts-mls/keyPackage.js";
export { defaultKeyPackageEqualityConfig } from "ts-mls/keyPackageEqualityConfig.js";
export { mlsExporter } from "ts-mls/keySchedule.js";
export type { LeafNode } from "ts-mls/leafNode.js";
export { verifyLeafNodeSignatureKeyPackage } from "ts-mls/leafNode.js";
export { decodeMlsMessage, encodeMlsMessage } from "ts-mls/message.js";
export { unprotectPrivateMessage } from "ts-mls/messageProtection.js";
export type { PrivateMessage } from "ts-mls/privateMessage.js";
export { processPrivateMessage } from "ts-mls/processMessages.js";
export type { Proposal } from "ts-mls/proposal.js";
export { emptyPskIndex } from "ts-mls/pskIndex.js";
export {
  consumeRatchet,
  decodeSecretTreeNode,
  ratchetUntil,
  type SecretTree,
  type SecretTreeNode,
  secretTreeNodeEncoder,
} from "ts-mls/secretTree.js";
export { leafToNodeIndex, toLeafIndex } from "ts-mls/treemath.js";
export type { Welcome } from "ts-mls/welcome.js";
