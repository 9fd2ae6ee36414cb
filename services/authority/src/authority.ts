import { create } from "@bufbuild/protobuf";
import {
  type AuthorityStore,
  type CallTally,
  callServiceText,
  type Domain,
  type ProcessUsage,
  refuse,
  silentLog,
} from "@causeway/core-base";
import { type Role, requireMetricsReaderOf } from "@causeway/core-identity";
import { aca, LimitsAdmin } from "@causeway/core-wire";
import { requireMember, requireOperator, requirePeer } from "./access.ts";
import { listApplications, showApplication } from "./applications.ts";
import { addTrust, removeTrust } from "./bundles.ts";
import type { Caller } from "./caller.ts";
import { type AuthorityConfig, type AuthorityLimits, createAuthorityLimits, settingsOf } from "./config.ts";
import { type AuthorityContext, audit } from "./context.ts";
import { decideApplication, enrol, pollEnrolment } from "./enrolment.ts";
import { Hierarchy } from "./hierarchy.ts";
import { issue } from "./issuance.ts";
import { passed } from "./material.ts";
import type { AuthorityTableSizes } from "./metrics.ts";
import type { AuthorityPorts } from "./ports.ts";
import { renew } from "./renewal.ts";
import { parseRequests } from "./requests.ts";
import { certificateStatus, listCertificates, revoke } from "./revocation.ts";
import { Schedule } from "./schedule.ts";
import { createToken } from "./tokens.ts";
import { TrustFeed } from "./trust-feed.ts";

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
  /**
   * Root's CRL first, then the issuing certificate's. Open to everybody: they are signed and hold serial numbers only,
   * and two domains whose lists of each other are stale have no other way to become acquainted again.
   */
  crls(): readonly Uint8Array[];
  /** The trust state; for peers of other domains only this domain's part. */
  trustFor(caller: Caller): aca.TrustState;
  /** The trust state now and after each change; a slow reader gets only the newest. Ends when the caller is revoked. */
  watchTrust(caller: Caller, signal: AbortSignal): AsyncIterable<aca.TrustState>;
  createToken(caller: Caller, request: aca.CreateTokenRequest): aca.CreateTokenResponse;
  listApplications(caller: Caller, request: aca.ListApplicationsRequest): aca.ListApplicationsResponse;
  decideApplication(caller: Caller, request: aca.DecideApplicationRequest): aca.DecideApplicationResponse;
  listCertificates(caller: Caller, request: aca.ListCertificatesRequest): aca.ListCertificatesResponse;
  addTrust(caller: Caller, request: aca.AddTrustRequest): aca.AddTrustResponse;
  removeTrust(caller: Caller, request: aca.RemoveTrustRequest): aca.RemoveTrustResponse;

  /** Its limits (AAP-103). Throws for everybody but operators. */
  limits(caller: Caller): LimitsAdmin<AuthorityLimits>;
  /** Takes over what the configuration says of limits now. Throws, and changes nothing, when it is wrong. */
  reload(by: string): void;
  /** What it counts and holds (AAP-103), for operators and monitors; `calls` are the count of whoever serves it. */
  metrics(caller: Caller, calls: CallTally): string;

  /** For the process that runs the authority, which holds its keys anyway: no caller, audited as local. */
  issueOwn(request: OwnIdentityRequest): aca.CertificateSet;
  /** As `createToken`, for the process that runs the authority. */
  createOwnToken(request: aca.CreateTokenRequest): aca.CreateTokenResponse;
  /** As `addTrust`, for the process that runs the authority. */
  addOwnTrust(bundle: aca.TrustBundle): aca.TrustState;
  /** This domain's bundle, for the operator of another domain. */
  exportBundle(): aca.TrustBundle;
  /** The trust state now, for the process that runs the authority. */
  trust(): aca.TrustState;
  /** Fires after each change of the trust state, at once. Returns the function that ends it. */
  onTrust(listener: (state: aca.TrustState) => void): () => void;
  /** Fetches the CRLs of other domains now instead of at the next turn. */
  refreshForeign(): Promise<void>;
  /** Starts CRL reissue and the refresh of foreign CRLs. */
  start(): void;
  /** Ends background work and every watch. The store stays open: it belongs to the caller. */
  stop(): Promise<void>;
}

/**
 * Opens the authority on its store; the first start makes root, issuing certificate and both CRLs. Throws
 * `CAUSEWAY_CONFIG_INVALID` when a value is out of its bounds.
 */
export async function openAuthority(config: AuthorityConfig, ports: AuthorityPorts): Promise<Authority> {
  const limits = createAuthorityLimits(config, ports.limitsBeside);
  const settings = settingsOf(config, limits.values);
  const hierarchy = await Hierarchy.open(settings, ports);
  const log = ports.log ?? silentLog;
  const feed = new TrustFeed(settings, ports.store, hierarchy, log);
  const context: AuthorityContext = {
    settings,
    store: ports.store,
    crypto: ports.crypto,
    log,
    hierarchy,
    feed,
    now: () => ports.scheduler.now().unix,
  };
  const schedule = new Schedule(context, ports.scheduler, ports.fetchForeignCrls);
  if (hierarchy.isUpkeepDue) await schedule.upkeep();
  const { readLimits, processUsage } = ports;
  return new DomainAuthority({
    context,
    schedule,
    limits: new LimitsAdmin({ limits, read: readLimits && (() => ({ limits: readLimits() })), log }),
    usage: () => processUsage?.(),
  });
}

interface AuthorityParts {
  readonly context: AuthorityContext;
  readonly schedule: Schedule;
  readonly limits: LimitsAdmin<AuthorityLimits>;
  readonly usage: () => ProcessUsage | undefined;
}

/** Counting rows of the store takes a moment. */
const countEveryMs = 60_000;

class DomainAuthority implements Authority {
  readonly #context: AuthorityContext;
  readonly #schedule: Schedule;
  readonly #limits: LimitsAdmin<AuthorityLimits>;
  readonly #usage: () => ProcessUsage | undefined;
  readonly #startedUnixMs: number;
  #counted: { readonly atUnixMs: number; readonly counts: ReturnType<AuthorityStore["counts"]> } | undefined;
  #stopping: Promise<void> | undefined;

  constructor({ context, schedule, limits, usage }: AuthorityParts) {
    this.#context = context;
    this.#schedule = schedule;
    this.#limits = limits;
    this.#usage = usage;
    this.#startedUnixMs = context.now();
  }

  get domain(): Domain {
    return this.#context.settings.domain;
  }

  get rootFingerprint(): string {
    return this.#context.hierarchy.rootFingerprint;
  }

  get root(): Uint8Array {
    return this.#context.hierarchy.root;
  }

  trust(): aca.TrustState {
    return this.#context.feed.state;
  }

  enrol(caller: Caller, request: aca.EnrolRequest): aca.EnrolResponse {
    return enrol(this.#context, caller, request);
  }

  pollEnrolment(caller: Caller, request: aca.PollEnrolmentRequest): aca.PollEnrolmentResponse {
    return pollEnrolment(this.#context, caller, request);
  }

  renew(caller: Caller, request: aca.RenewRequest): aca.RenewResponse {
    return renew(this.#context, caller, request);
  }

  revoke(caller: Caller, request: aca.RevokeRequest): aca.RevokeResponse {
    return revoke(this.#context, caller, request);
  }

  certificateStatus(caller: Caller, request: aca.CertificateStatusRequest): aca.CertificateStatusResponse {
    return certificateStatus(this.#context, caller, request);
  }

  crls(): readonly Uint8Array[] {
    return this.#context.hierarchy.crls();
  }

  trustFor(caller: Caller): aca.TrustState {
    const peer = requirePeer(this.#context, caller);
    const { feed, settings } = this.#context;
    if (peer.domain === settings.domain) return peer.role === "operator" ? feed.state : feed.memberState;
    // Whom a domain trusts is nobody else's business.
    return create(aca.TrustStateSchema, { sequence: feed.state.sequence, bundles: [feed.ownBundle()] });
  }

  async *watchTrust(caller: Caller, signal: AbortSignal): AsyncGenerator<aca.TrustState> {
    const { role } = requireMember(this.#context, caller);
    for await (const state of this.#context.feed.watch(signal, { isOperator: role === "operator" })) {
      yield state;
      requireMember(this.#context, caller);
    }
  }

  createToken(caller: Caller, request: aca.CreateTokenRequest): aca.CreateTokenResponse {
    return createToken(this.#context, requireOperator(this.#context, caller).spiffeId, request);
  }

  listApplications(caller: Caller, request: aca.ListApplicationsRequest): aca.ListApplicationsResponse {
    requireOperator(this.#context, caller);
    return listApplications(this.#context, request);
  }

  decideApplication(caller: Caller, request: aca.DecideApplicationRequest): aca.DecideApplicationResponse {
    const operator = requireOperator(this.#context, caller);
    const application = showApplication(decideApplication(this.#context, operator.spiffeId, request));
    return create(aca.DecideApplicationResponseSchema, { application });
  }

  listCertificates(caller: Caller, request: aca.ListCertificatesRequest): aca.ListCertificatesResponse {
    return listCertificates(this.#context, caller, request);
  }

  addTrust(caller: Caller, request: aca.AddTrustRequest): aca.AddTrustResponse {
    const operator = requireOperator(this.#context, caller);
    return create(aca.AddTrustResponseSchema, { state: addTrust(this.#context, operator.spiffeId, request.bundle) });
  }

  removeTrust(caller: Caller, request: aca.RemoveTrustRequest): aca.RemoveTrustResponse {
    const operator = requireOperator(this.#context, caller);
    return create(aca.RemoveTrustResponseSchema, {
      state: removeTrust(this.#context, operator.spiffeId, request.domain),
    });
  }

  limits(caller: Caller): LimitsAdmin<AuthorityLimits> {
    requireOperator(this.#context, caller);
    return this.#limits;
  }

  reload(by: string): void {
    this.#limits.reload(by);
  }

  metrics(caller: Caller, calls: CallTally): string {
    const { settings, store, feed } = this.#context;
    requireMetricsReaderOf(settings.domain, requireMember(this.#context, caller));
    const { certificates, tokens } = this.#counts();
    const sizes: AuthorityTableSizes = {
      applications: { entries: store.countApplications("in review"), entriesMax: settings.applicationsMax },
      certificates: { entries: certificates },
      tokens: { entries: tokens },
      foreign_domains: { entries: feed.foreignDomains, entriesMax: settings.foreignDomainsMax },
      trust_watchers: { entries: feed.watchers, entriesMax: settings.watchersMax },
    };
    return callServiceText("causeway_authority", {
      sizes,
      calls,
      usage: this.#usage(),
      startedUnixMs: this.#startedUnixMs,
    });
  }

  #counts(): ReturnType<AuthorityStore["counts"]> {
    const { store, now } = this.#context;
    const atUnixMs = now();
    if (this.#counted === undefined || Math.abs(atUnixMs - this.#counted.atUnixMs) >= countEveryMs)
      this.#counted = { atUnixMs, counts: store.counts() };
    return this.#counted.counts;
  }

  issueOwn(request: OwnIdentityRequest): aca.CertificateSet {
    const context = this.#context;
    const { role, hosts = [] } = request;
    if (role === "gateway")
      throw refuse(
        "CAUSEWAY_MISUSE",
        "a gateway enrols with a token that has its attributes, also on the authority's machine",
      );
    const requests = parseRequests(context, request.spiffeId, request.requests);
    const at = context.now();
    const checks = [passed("organisation", "local", at), passed("key", "authority", at), passed("scope", "local", at)];
    return context.store.transaction(() => {
      const certificates = issue(context, { ...requests, grant: { role, hosts }, checks });
      audit(context, "identity.issued", "local", requests.spiffeId, `role ${role}`);
      return create(aca.CertificateSetSchema, { certificates, trust: context.feed.memberState });
    });
  }

  createOwnToken(request: aca.CreateTokenRequest): aca.CreateTokenResponse {
    return createToken(this.#context, "local", request);
  }

  addOwnTrust(bundle: aca.TrustBundle): aca.TrustState {
    return addTrust(this.#context, "local", bundle);
  }

  exportBundle(): aca.TrustBundle {
    return this.#context.feed.ownBundle();
  }

  onTrust(listener: (state: aca.TrustState) => void): () => void {
    return this.#context.feed.onTrust(listener);
  }

  refreshForeign(): Promise<void> {
    return this.#schedule.refreshForeign();
  }

  start(): void {
    this.#schedule.start();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#schedule.stop().finally(() => this.#context.feed.close());
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
