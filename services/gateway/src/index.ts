export { createGateway, type Gateway, type GatewayStatus } from "./gateway.ts";
export { gatewayLimits } from "./limits.ts";
export type * from "./ports.ts";
