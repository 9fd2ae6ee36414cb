import { CallTally, CausewayError, type Log, silentLog } from "@causeway/core-base";
import { aca, admin, common, statusNumber, toErrorDetail } from "@causeway/core-wire";
import { ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import type { Authority } from "./authority.ts";
import { type CallerOf, isApplicant } from "./caller.ts";

/** AuthorityService and, for operators, LimitsService and MetricsService. `callerOf` reads the caller from the context. */
export function authorityRoutes(
  authority: Authority,
  callerOf: CallerOf,
  log: Log = silentLog,
  calls: CallTally = new CallTally(),
): (router: ConnectRouter) => void {
  const rendered = (thrown: unknown, context: HandlerContext): ConnectError => {
    if (thrown instanceof ConnectError) return thrown;
    const error = CausewayError.from(thrown);
    calls.addRefusal(error.code);
    if (error.family === "internal") log.error("authority.call_failed", { method: context.method.name }, thrown);
    else log.debug("authority.call_refused", { method: context.method.name, code: error.code });
    const made = new ConnectError(error.message, statusNumber(error), undefined, [
      { desc: common.ErrorDetailSchema, value: toErrorDetail(error) },
    ]);
    made.cause = error;
    return made;
  };
  const unary =
    <I, O>(call: (request: I, context: HandlerContext) => O) =>
    (request: I, context: HandlerContext): O => {
      calls.addCall(context.method.localName);
      try {
        return call(request, context);
      } catch (thrown) {
        throw rendered(thrown, context);
      }
    };
  return (router) => {
    router.service(aca.AuthorityService, {
      enrol: unary((request: aca.EnrolRequest, context) => authority.enrol(callerOf(context), request)),
      pollEnrolment: unary((request: aca.PollEnrolmentRequest, context) =>
        authority.pollEnrolment(callerOf(context), request),
      ),
      renew: unary((request: aca.RenewRequest, context) => authority.renew(callerOf(context), request)),
      revoke: unary((request: aca.RevokeRequest, context) => authority.revoke(callerOf(context), request)),
      certificateStatus: unary((request: aca.CertificateStatusRequest, context) =>
        authority.certificateStatus(callerOf(context), request),
      ),
      getCrl: unary((_request: aca.GetCrlRequest, _context) => ({ crls: [...authority.crls()] })),
      getTrust: unary((_request: aca.GetTrustRequest, context) => ({ state: authority.trustFor(callerOf(context)) })),
      async *watchTrust(_request, context) {
        calls.addCall(context.method.localName);
        try {
          for await (const state of authority.watchTrust(callerOf(context), context.signal)) yield { state };
        } catch (thrown) {
          throw rendered(thrown, context);
        }
      },
      createToken: unary((request: aca.CreateTokenRequest, context) =>
        authority.createToken(callerOf(context), request),
      ),
      listApplications: unary((request: aca.ListApplicationsRequest, context) =>
        authority.listApplications(callerOf(context), request),
      ),
      decideApplication: unary((request: aca.DecideApplicationRequest, context) =>
        authority.decideApplication(callerOf(context), request),
      ),
      listCertificates: unary((request: aca.ListCertificatesRequest, context) =>
        authority.listCertificates(callerOf(context), request),
      ),
      addTrust: unary((request: aca.AddTrustRequest, context) => authority.addTrust(callerOf(context), request)),
      removeTrust: unary((request: aca.RemoveTrustRequest, context) =>
        authority.removeTrust(callerOf(context), request),
      ),
    });
    const operatorName = (context: HandlerContext): string => {
      const caller = callerOf(context);
      return isApplicant(caller) ? "applicant" : caller.spiffeId;
    };
    router.service(admin.LimitsService, {
      listLimits: unary((_request: admin.ListLimitsRequest, context) => authority.limits(callerOf(context)).list()),
      setLimit: unary((request: admin.SetLimitRequest, context) =>
        authority.limits(callerOf(context)).set(request, operatorName(context)),
      ),
      reloadLimits: unary((_request: admin.ReloadLimitsRequest, context) =>
        authority.limits(callerOf(context)).reload(operatorName(context)),
      ),
    });
    router.service(admin.MetricsService, {
      readMetrics: unary((_request: admin.ReadMetricsRequest, context) => ({
        text: authority.metrics(callerOf(context), calls),
      })),
    });
  };
}

const pathOf = (method: string): string => `/${aca.AuthorityService.typeName}/${method}`;

/** Procedures that are open to an applicant. */
export const applicantPaths: readonly string[] = ["Enrol", "PollEnrolment", "GetCrl"].map(pathOf);

/** Procedures that are open to a monitor: what keeping its certificate takes. */
export const monitorPaths: readonly string[] = ["Renew", "GetTrust", "WatchTrust", "GetCrl"].map(pathOf);
