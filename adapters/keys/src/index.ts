export { applicantIdentity } from "./applicant.ts";
export {
  certificateRequests,
  createIdentity,
  generatePurposeKeys,
  type Identity,
  type IdentityValidity,
  loadIdentity,
  type PurposeKeys,
  type TlsIdentity,
} from "./identity.ts";
export {
  type AuthorityConnection,
  type ConnectAuthority,
  type Enrolment,
  type EnrolmentMaterial,
  type IdentityKeeper,
  type IdentityKeeperOptions,
  type KeeperAlarm,
  openIdentityKeeper,
} from "./identity-keeper.ts";
export { generateKeyPair, importKeyPair, KeyPair, type KeyType, keyTypeOf } from "./key-pair.ts";
export { type KeyVault, type KeyVaultOptions, openKeyVault } from "./key-vault.ts";
export { createNodeCrypto, isAcceptedKey, type NodeCryptoOptions, nodeCrypto } from "./node-crypto.ts";
