/** MLS (RFC 9420) between endpoints. A gateway never imports this room. */
export type {
  EndToEnd,
  EndToEndEvent,
  EndToEndOptions,
  EndToEndStatus,
  GroupChange,
  GroupView,
  Opened,
  SealedFrame,
} from "./api.ts";
export { createEndToEnd } from "./end-to-end.ts";
export { FileCounter, FileStateStore } from "./file-store.ts";
export { MemoryStateStore } from "./memory-store.ts";
export type {
  CommitAnswer,
  DeliveryPort,
  FetchedKeyPackage,
  MlsIdentity,
  MlsSuite,
  MonotonicCounter,
  StateStore,
  UnixClock,
  VerifyLeaf,
} from "./ports.ts";
