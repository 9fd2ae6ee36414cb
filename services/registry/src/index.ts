export { Catalogue, type CatalogueEntry } from "./catalogue.ts";
export type { RemoteGateway } from "./disclosure.ts";
export type { FollowedRecord } from "./follow.ts";
export { type RegistryLimits, registryLimits } from "./limits.ts";
export { createMemoryRegistryStore } from "./memory-store.ts";
export { type ReaderDeps, type SyncConnection, SyncReader } from "./reader.ts";
export { Registry, type RegistryConfig, type RegistryDeps } from "./registry.ts";
export { registryRoutes } from "./routes.ts";
export type { Embedder } from "./search/semantic.ts";
