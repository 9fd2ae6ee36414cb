export { type Authority, type OwnIdentityRequest, openAuthority } from "./authority.ts";
export { encodeBundleFile, parseBundleFile } from "./bundles.ts";
export { type Applicant, type Caller, type CallerOf, isApplicant } from "./caller.ts";
export type { AuthorityConfig, AuthorityLimits } from "./config.ts";
export type { AuthorityPorts, CaKeys, FetchForeignCrls } from "./ports.ts";
export { applicantPaths, authorityRoutes, monitorPaths } from "./routes.ts";
