export * from "./agent.ts";
export * from "./agent-transitions.ts";
export * from "./effects.ts";
export * from "./features.ts";
export * from "./gateway.ts";
export * from "./gateway-transitions.ts";
export * from "./offers.ts";
