/** The agent SDK, neutral of the platform: `openAgent` over a `Connector`. Applications use `@causeway/agent/node`. */
export { CausewayError, type ErrorCode, isCausewayError } from "@causeway/core-base";
export { type SessionLimits, sessionLimits } from "@causeway/core-session";
export { type OpenOptions, openAgent } from "./agent.ts";
export type * from "./api.ts";
export type {
  Connector,
  DirectListener,
  DirectPort,
  FrameSlice,
  GatewayLink,
  IdentityPort,
  RegistryPort,
} from "./connector.ts";
export { Content, type Data, type Json } from "./content.ts";
export type { DirectLimits } from "./direct/limits.ts";
export type { DirectOptions } from "./direct/ways.ts";
export { exchangeLimits } from "./exchange/limits.ts";
export { callerKey } from "./streams/services.ts";
