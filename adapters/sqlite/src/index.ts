export { type AuthorityStoreOptions, openAuthorityStore } from "./authority-store.ts";
export { Database, type DatabaseOptions, type Row, Statement, type Value } from "./database.ts";
export { type GatewayStoreOptions, openGatewayStore } from "./gateway-store.ts";
export { openRegistryStore, type RegistryStoreOptions, type SqliteRegistryStore } from "./registry-store.ts";
