export { linkPath } from "./accept-link.ts";
export { type Applicant, type Caller, callerKey, callerOf, isApplicant, peerOf } from "./caller.ts";
export type { DialOptions } from "./dial.ts";
export { type H2Limits, h2Limits } from "./limits.ts";
export type { FrameSlice, Link } from "./link.ts";
export { openLink } from "./open-link.ts";
export { createPort, type Port, type PortAddress, type PortOptions } from "./port.ts";
export { type ClientTransport, createTransport, type TransportOptions } from "./transport.ts";
export { fromConnectError, toConnectError } from "./wire-errors.ts";
