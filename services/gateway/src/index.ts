export { createGateway, type Gateway, type GatewayStatus } from "./gateway.ts";
export { type AllGatewayLimits, allGatewayLimits, gatewayLimitRules } from "./limit-rules.ts";
export { gatewayLimits } from "./limits.ts";
export type * from "./ports.ts";
