export { channelBinding } from "./channel-binding.ts";
export {
  type ClientTls,
  clientOptions,
  type ExpectedServer,
  refreshServer,
  serverOptions,
  verifiedServerOf,
} from "./options.ts";
export { type Applicant, type PeerSocket, peerOrApplicant, verifiedPeerOf } from "./peer.ts";
export { fetchPinnedRoot, type PinnedRootOptions } from "./pinned-root.ts";
export { tlsErrorOf } from "./tls-error.ts";
export { cipherSuites, type TlsIdentity } from "./tls-identity.ts";
