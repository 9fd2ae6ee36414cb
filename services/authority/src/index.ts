export { type Authority, type AuthorityConfig, openAuthority, type OwnIdentityRequest } from "./authority.ts";
export { type Applicant, type Caller, type CallerOf, isApplicant } from "./caller.ts";
export type { AuthorityPorts, CaKey, CaKeys, FetchForeignCrls } from "./ports.ts";
export { authorityRoutes } from "./routes.ts";
