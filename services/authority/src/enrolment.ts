/**
 * First certificates: with a join token at once, by an operator's decision, or for a lapsed identity by proof of its old
 * key. The same request of the same key gets the same answer again, so that a lost answer costs no token.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { refuse, type StoredApplication, type StoredCertificate } from "@causeway/core-base";
import { parseCertificate } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { actorOf } from "./access.ts";
import { hashHex, sameBytes, toHex } from "./bytes.ts";
import type { Caller } from "./caller.ts";
import { type AuthorityContext, audit } from "./context.ts";
import { issue, judge } from "./issuance.ts";
import { boundMaterial, type Check, checkLine, passed, requireMaterial } from "./material.ts";
import { type ParsedRequests, parseRequests } from "./requests.ts";
import { findToken, grantOf, isPrefixToken } from "./tokens.ts";

/** Judges an enrolment. Only the TLS key of the connection may be certified for TLS. */
export function enrol(context: AuthorityContext, caller: Caller, request: aca.EnrolRequest): aca.EnrolResponse {
  boundMaterial(request.material);
  const requests = parseRequests(context, request.spiffeId, request.requests);
  const tls = requests.keys.find((key) => key.purpose === "tls");
  if (!tls || !sameBytes(tls.spki, caller.spki)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_MISMATCH",
      "the tls request is for another key than the connection's; connect with a certificate over the key of the request",
    );
  }
  const attempt: Attempt = {
    caller,
    request,
    requests,
    id: applicationId(context, requests),
    actor: actorOf(context, caller),
  };
  if (request.token !== "") return enrolByToken(context, attempt);
  const lapsed = findLapsed(context, caller, requests);
  return lapsed ? enrolLapsed(context, attempt, lapsed) : apply(context, attempt);
}

/** State of an application, for the key that made it. */
export function pollEnrolment(
  context: AuthorityContext,
  caller: Caller,
  request: aca.PollEnrolmentRequest,
): aca.PollEnrolmentResponse {
  const application = context.store.application(request.applicationId);
  if (!application || application.keyFingerprint !== hashHex(context.crypto, caller.spki)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_APPLICATION_UNKNOWN",
      "there is no such application of this key; apply first, over a connection with the same key",
    );
  }
  const { state, reason } = application;
  const certificates = issuedSet(context, application);
  return create(aca.PollEnrolmentResponseSchema, { state, reason, ...(certificates && { certificates }) });
}

/** The operator's decision. Approval issues in the same transaction. */
export function decideApplication(
  context: AuthorityContext,
  operator: string,
  request: aca.DecideApplicationRequest,
): StoredApplication {
  const { store } = context;
  return store.transaction(() => {
    const application = store.application(request.applicationId);
    if (!application) {
      throw refuse(
        "CAUSEWAY_IDENTITY_APPLICATION_UNKNOWN",
        "there is no application with this id; list the applications",
      );
    }
    if (application.state !== "in review") {
      throw refuse(
        "CAUSEWAY_IDENTITY_APPLICATION_DECIDED",
        `the application for ${application.spiffeId} is ${application.state} already`,
      );
    }
    const decided = { ...application, decidedBy: operator, reason: request.reason.slice(0, reasonCharsMax) };
    if (!request.approve) {
      const rejected: StoredApplication = { ...decided, state: "rejected" };
      store.updateApplication(rejected);
      audit(context, "application.rejected", operator, application.spiffeId, rejected.reason);
      return rejected;
    }
    const enrolment = fromBinary(aca.EnrolRequestSchema, application.request);
    const requests = parseRequests(context, enrolment.spiffeId, enrolment.requests);
    const checks = checksBy(context, operator);
    const certificates = issue(context, { ...requests, grant: { role: "agent", hosts: [] }, checks });
    const issued: StoredApplication = {
      ...decided,
      state: "issued",
      checks: checks.map(checkLine),
      issued: toBinary(aca.CertificateSetSchema, create(aca.CertificateSetSchema, { certificates })),
    };
    store.updateApplication(issued);
    audit(context, "application.approved", operator, application.spiffeId, issued.checks.join("; "));
    return issued;
  });
}

interface Attempt {
  readonly caller: Caller;
  readonly request: aca.EnrolRequest;
  readonly requests: ParsedRequests;
  readonly id: string;
  readonly actor: string;
}

/** Consumes the token and issues in one transaction: of two requests with one token, one wins. */
function enrolByToken(context: AuthorityContext, attempt: Attempt): aca.EnrolResponse {
  const { store } = context;
  const { request, requests, id, actor } = attempt;
  return store.transaction(() => {
    const token = findToken(context, request.token, requests.spiffeId);
    if (token.usedUnixMs !== undefined) {
      const before = store.application(id);
      const again = before?.tokenHash === token.hash ? goodSet(context, before) : undefined;
      if (again) return create(aca.EnrolResponseSchema, { certificates: again });
    }
    if (!store.consumeToken(token.hash, context.now(), actor)) {
      throw refuse(
        "CAUSEWAY_IDENTITY_TOKEN_INVALID",
        `the join token is unknown, used, expired or not for ${requests.spiffeId}; ask an operator for a new one`,
      );
    }
    if (isPrefixToken(token)) refuseTaken(context, requests);
    return issueNow(context, attempt, {
      grant: grantOf(token),
      vouchedBy: token.createdBy,
      tokenHash: token.hash,
      action: "enrolment.issued",
    });
  });
}

function enrolLapsed(context: AuthorityContext, attempt: Attempt, lapsed: StoredCertificate): aca.EnrolResponse {
  return context.store.transaction(() =>
    issueNow(context, attempt, {
      grant: grantOf(lapsed),
      vouchedBy: attempt.requests.spiffeId,
      tokenHash: "",
      action: "enrolment.restored",
    }),
  );
}

function issueNow(
  context: AuthorityContext,
  attempt: Attempt,
  basis: {
    readonly grant: ReturnType<typeof grantOf>;
    readonly vouchedBy: string;
    readonly tokenHash: string;
    readonly action: string;
  },
): aca.EnrolResponse {
  const { requests, actor } = attempt;
  const checks = checksBy(context, basis.vouchedBy);
  const certificates = issue(context, { ...requests, grant: basis.grant, checks });
  const set = create(aca.CertificateSetSchema, { certificates });
  const application: StoredApplication = {
    ...newApplication(context, attempt),
    tokenHash: basis.tokenHash,
    state: "issued",
    decidedBy: basis.vouchedBy,
    checks: checks.map(checkLine),
    issued: toBinary(aca.CertificateSetSchema, set),
  };
  keep(context, application);
  audit(context, basis.action, actor, requests.spiffeId, `role ${basis.grant.role}; ${application.checks.join("; ")}`);
  return create(aca.EnrolResponseSchema, { certificates: withTrust(context, set) });
}

/** An application that an operator has to decide on. */
function apply(context: AuthorityContext, attempt: Attempt): aca.EnrolResponse {
  const { store, settings } = context;
  const { request, requests, id, actor } = attempt;
  requireMaterial(request.material);
  return store.transaction(() => {
    const known = store.application(id);
    if (known && known.state !== "issued") return create(aca.EnrolResponseSchema, { applicationId: id });
    const certificates = known && goodSet(context, known);
    if (certificates) return create(aca.EnrolResponseSchema, { certificates });
    if (store.countApplications("in review") >= settings.applicationsMax) {
      throw refuse(
        "CAUSEWAY_LIMIT_COUNT",
        `${settings.applicationsMax} applications wait for a decision; an operator has to decide some first`,
        {
          details: { limit: "applicationsMax" },
        },
      );
    }
    issuableForAgent(context, requests);
    keep(context, newApplication(context, attempt));
    audit(
      context,
      "application.received",
      actor,
      requests.spiffeId,
      `application ${id}; organisation ${request.material?.organisation ?? ""}; developer ${request.material?.developer ?? ""}`,
    );
    return create(aca.EnrolResponseSchema, { applicationId: id });
  });
}

function newApplication(context: AuthorityContext, { caller, request, requests, id }: Attempt): StoredApplication {
  return {
    id,
    spiffeId: requests.spiffeId,
    keyFingerprint: hashHex(context.crypto, caller.spki),
    request: toBinary(aca.EnrolRequestSchema, create(aca.EnrolRequestSchema, { ...request, token: "" })),
    tokenHash: "",
    state: "in review",
    atUnixMs: context.now(),
    decidedBy: "",
    reason: "",
    checks: [],
  };
}

/** Keeps an application, in the place of an earlier one of the same name and keys. */
function keep({ store }: AuthorityContext, application: StoredApplication): void {
  if (store.application(application.id)) store.updateApplication(application);
  else store.insertApplication(application);
}

/** The certificates of an application, undefined when one of them is expired or revoked. */
function goodSet(context: AuthorityContext, application: StoredApplication): aca.CertificateSet | undefined {
  const set = issuedSet(context, application);
  const isGood = set?.certificates.every(({ chain: [leaf] }) => {
    const stored = leaf && context.store.certificate(toHex(parseCertificate(leaf).serial));
    return stored && stored.revokedReason === undefined && stored.notAfterUnixMs > context.now();
  });
  return isGood ? set : undefined;
}

/** The certificates of an application with the trust state of now, whether they are still good or not. */
function issuedSet(context: AuthorityContext, application: StoredApplication): aca.CertificateSet | undefined {
  return application.issued && withTrust(context, fromBinary(aca.CertificateSetSchema, application.issued));
}

function withTrust(context: AuthorityContext, set: aca.CertificateSet): aca.CertificateSet {
  return create(aca.CertificateSetSchema, { certificates: set.certificates, trust: context.feed.memberState });
}

/** Same name and keys, same application. */
function applicationId(context: AuthorityContext, requests: ParsedRequests): string {
  const keys = requests.keys.map((key) => `${key.purpose} ${hashHex(context.crypto, key.spki)}`).sort();
  return hashHex(context.crypto, [requests.spiffeId, ...keys].join("\n")).slice(0, 32);
}

/** Organisation and scope are vouched for by whoever made the token or decides; the key was judged by this program. */
function checksBy(context: AuthorityContext, who: string): Check[] {
  const at = context.now();
  return [passed("organisation", who, at), passed("key", "authority", at), passed("scope", who, at)];
}

/**
 * The newest TLS certificate of the identity, if it is over this very key, has expired not too long ago and was never
 * revoked. An older key than the newest does not count: it may have been thrown away carelessly.
 */
function findLapsed(
  context: AuthorityContext,
  caller: Caller,
  requests: ParsedRequests,
): StoredCertificate | undefined {
  const newest = context.store.certificates(requests.spiffeId, certificatesMax).find((c) => c.purpose === "tls");
  if (!newest || newest.revokedReason !== undefined || newest.keyFingerprint !== hashHex(context.crypto, caller.spki)) {
    return undefined;
  }
  const age = context.now() - newest.notAfterUnixMs;
  return age > 0 && age <= context.settings.lapsedMs ? newest : undefined;
}

/** A prefix token makes new names; it does not take one over. */
function refuseTaken(context: AuthorityContext, requests: ParsedRequests): void {
  const now = context.now();
  const held = context.store
    .certificates(requests.spiffeId, certificatesMax)
    .some((c) => c.revokedReason === undefined && c.notAfterUnixMs > now);
  if (held) {
    throw refuse(
      "CAUSEWAY_IDENTITY_NAME_TAKEN",
      `${requests.spiffeId} has a valid certificate; choose another name, or ask for a token for exactly this one`,
    );
  }
}

/** What can be refused at once is not put before an operator. */
function issuableForAgent(context: AuthorityContext, requests: ParsedRequests): void {
  judge(context, { ...requests, grant: { role: "agent", hosts: [] }, checks: checksBy(context, "authority") });
}

const certificatesMax = 1_000;
const reasonCharsMax = 1_000;
