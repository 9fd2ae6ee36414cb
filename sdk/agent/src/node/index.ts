/** The SDK on Node: identity and state on disk, links over HTTP/2 and TLS 1.3. */
export * from "../index.ts";
export { type ConnectOptions, connect } from "./connect.ts";
export type { NodeDirectOptions } from "./direct-port.ts";
export type { DiscoveryMethod, DiscoveryOptions } from "./gateway-discovery.ts";
