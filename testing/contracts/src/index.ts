export { type GatewayStoreSubject, gatewayStoreContract } from "./gateway-store.ts";
export { MemoryGatewayStore } from "./memory-gateway-store.ts";
