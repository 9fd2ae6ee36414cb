export { applicantIdentity } from "./applicant.ts";
export type { Enrolment, EnrolmentMaterial } from "./enrolment.ts";
export {
  createIdentity,
  Identity,
  type IdentityValidity,
  identityOf,
  isMarkedRevoked,
  loadIdentity,
  loadTrust,
  markRevoked,
  saveIdentity,
  saveTrust,
  TlsCredential,
  type TlsIdentity,
} from "./identity.ts";
export {
  type IdentityKeeper,
  type IdentityKeeperOptions,
  type KeeperAlarm,
  openIdentityKeeper,
} from "./identity-keeper.ts";
export { generateKeyPair, importKeyPair, KeyPair, type KeyType, keyTypeOf } from "./key-pair.ts";
export { type KeyVault, type KeyVaultOptions, openKeyVault } from "./key-vault.ts";
export type { AuthorityConnection, AuthorityTransport, ConnectAuthority, FetchRoot } from "./network.ts";
export { createNodeCrypto, isAcceptedKey, type NodeCryptoOptions, nodeCrypto } from "./node-crypto.ts";
export { plainFiles, writePlainFiles } from "./plain-files.ts";
export {
  certificateRequests,
  generatePurposeKeys,
  type PurposeChains,
  type PurposeKeys,
} from "./purpose-keys.ts";
