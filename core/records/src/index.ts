export { type AgentCard, type CardSkill, parseAgentCard } from "./card.ts";
export { type InterestingRecord, type InterestTopic, matchesInterest } from "./interest.ts";
export {
  type AgentRecord,
  checkRecordSize,
  encodeRecordBody,
  type LifecycleKind,
  parseRecordBody,
  type RecordDraft,
  recordSchemaVersion,
} from "./record.ts";
export { type SearchText, searchText, searchTexts } from "./search-text.ts";
export { signOrigin, signReceipt, signRecord } from "./sign.ts";
export {
  compareRevisions,
  compareVersions,
  encodeOriginStatement,
  encodeReceipt,
  encodeStatus,
  type OriginStatement,
  parseOriginStatement,
  parseReceipt,
  type Receipt,
  type RevisionOrder,
  type Status,
  type Version,
} from "./statements.ts";
export {
  checkOriginAuthority,
  clockSkewMsMax,
  createRecordVerifier,
  equalBytes,
  parseStoredOrigin,
  parseStoredRecord,
  type RecordVerifier,
  type RegisteredRecord,
  type SignaturePort,
  signatureAgeMsMax,
  trustedSignatures,
  type VerifiedOrigin,
  type VerifiedRecord,
} from "./verifier.ts";
