export type { EndpointAccess } from "./serve/access.ts";
export { type AttachedA2aAgent, type AttachOptions, attachA2aAgent } from "./serve/attach.ts";
export { type A2aEndpoint, type EndpointOptions, openA2aEndpoint } from "./serve/endpoint.ts";
export { canTellUsers } from "./serve/same-user.ts";
export { openUpstream, type Upstream } from "./serve/upstream.ts";
export { networkExtension } from "./translate/card.ts";
