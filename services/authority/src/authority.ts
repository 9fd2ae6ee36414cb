import { type Domain, refuse } from "@causeway/core-base";
import type { Role } from "@causeway/core-identity";
import type { aca } from "@causeway/core-wire";
import type { Caller } from "./caller.ts";
import type { AuthorityPorts } from "./ports.ts";

/** Configuration of an authority. Times in milliseconds. */
export interface AuthorityConfig {
  readonly domain: Domain;
  /** https://host:port under which agents reach this authority; goes into join tokens and the trust bundle. */
  readonly url: string;
  /** Leaf certificates. Default 24 h, from 1 min to 7 days. */
  readonly leafLifetimeMs?: number;
  /** Default 365 days. */
  readonly issuingLifetimeMs?: number;
  /** Default 3,650 days. */
  readonly rootLifetimeMs?: number;
  /** Time from thisUpdate to nextUpdate of a CRL; it is made again after a third of it. Default 24 h. */
  readonly crlLifetimeMs?: number;
  /** How often CRLs of other domains are fetched. Default 60 s. */
  readonly crlRefreshMs?: number;
  /** Largest number of applications that wait for a decision; further ones are refused. Default 1,000. */
  readonly applicationsMax?: number;
  /** Largest number of WatchTrust streams; further ones are refused. Default 100,000. */
  readonly watchersMax?: number;
}

/** An identity that the authority makes for its own machine: its server, its first operator. */
export interface OwnIdentityRequest {
  readonly spiffeId: string;
  readonly role: Role;
  readonly hosts?: readonly string[];
  readonly requests: readonly aca.CertificateRequest[];
}

/** The certificate authority of one domain. Every method throws a CausewayError of the table when it refuses. */
export interface Authority extends AsyncDisposable {
  readonly domain: Domain;
  /** Hex SHA-256 of the root certificate. */
  readonly rootFingerprint: string;
  /** Root, DER. */
  readonly root: Uint8Array;
  enrol(caller: Caller, request: aca.EnrolRequest): aca.EnrolResponse;
  pollEnrolment(caller: Caller, request: aca.PollEnrolmentRequest): aca.PollEnrolmentResponse;
  renew(caller: Caller, request: aca.RenewRequest): aca.RenewResponse;
  revoke(caller: Caller, request: aca.RevokeRequest): aca.RevokeResponse;
  certificateStatus(caller: Caller, request: aca.CertificateStatusRequest): aca.CertificateStatusResponse;
  crls(): readonly Uint8Array[];
  trust(): aca.TrustState;
  /** The trust state now and after each change; a slow reader gets only the newest. */
  watchTrust(caller: Caller, signal: AbortSignal): AsyncIterable<aca.TrustState>;
  createToken(caller: Caller, request: aca.CreateTokenRequest): aca.CreateTokenResponse;
  listApplications(caller: Caller, request: aca.ListApplicationsRequest): aca.ListApplicationsResponse;
  decideApplication(caller: Caller, request: aca.DecideApplicationRequest): aca.DecideApplicationResponse;
  listCertificates(caller: Caller, request: aca.ListCertificatesRequest): aca.ListCertificatesResponse;
  addTrust(caller: Caller, request: aca.AddTrustRequest): aca.AddTrustResponse;
  removeTrust(caller: Caller, request: aca.RemoveTrustRequest): aca.RemoveTrustResponse;

  /** For the process that runs the authority, which holds its keys anyway: no caller, audited as local. */
  issueOwn(request: OwnIdentityRequest): aca.CertificateSet;
  /** As `createToken`, for the process that runs the authority. */
  createOwnToken(request: aca.CreateTokenRequest): aca.CreateTokenResponse;
  /** This domain's bundle, for the operator of another domain. */
  exportBundle(): aca.TrustBundle;
  /** Fires after each change of the trust state, at once. */
  onTrust(listener: (state: aca.TrustState) => void): () => void;
  /** Starts CRL reissue and the refresh of foreign CRLs. */
  start(): void;
  stop(): Promise<void>;
}

/** Opens the authority on its store; the first start makes root and issuing certificate and both CRLs. */
export function openAuthority(_config: AuthorityConfig, _ports: AuthorityPorts): Authority {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}
