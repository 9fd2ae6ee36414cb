/** The registry as Connect services. Refusals are rendered by the port that serves them. */
import { CallTally, CausewayError } from "@causeway/core-base";
import { requireOperatorOf, type VerifiedPeer } from "@causeway/core-identity";
import { admin, ars, type LimitsAdmin } from "@causeway/core-wire";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { RegistryLimits } from "./limits.ts";
import type { Registry } from "./registry.ts";

/** What a port serves of a registry. */
export interface RegistryRoutes {
  /** RegistryService and, for operators, LimitsService and MetricsService. */
  readonly services: (router: ConnectRouter) => void;
  /** The text of `GET /metrics`. */
  metrics(caller: VerifiedPeer): string;
}

/** `callerOf` reads who called from the connection. */
export function registryRoutes(
  registry: Registry,
  limits: LimitsAdmin<RegistryLimits>,
  callerOf: (context: HandlerContext) => VerifiedPeer,
): RegistryRoutes {
  const calls = new CallTally();
  const operatorOf = (caller: VerifiedPeer): VerifiedPeer => requireOperatorOf(registry.domain, caller);
  const counted =
    <I, O>(serve: (caller: VerifiedPeer, request: I) => O | Promise<O>) =>
    async (request: I, context: HandlerContext): Promise<O> => {
      calls.addCall(context.method.localName);
      try {
        return await serve(callerOf(context), request);
      } catch (thrown) {
        calls.addRefusal(CausewayError.from(thrown).code);
        throw thrown;
      }
    };
  const metrics = (caller: VerifiedPeer): string => registry.metrics(caller, calls);
  return {
    metrics,
    services(router) {
      router.service(ars.RegistryService, {
        register: counted((caller, request: ars.RegisterRequest) => registry.register(caller, request)),
        deregister: counted((caller, request: ars.DeregisterRequest) => registry.deregister(caller, request)),
        discover: counted((caller, request: ars.DiscoverRequest) => registry.discover(caller, request)),
        getRecord: counted((caller, request: ars.GetRecordRequest) => registry.getRecord(caller, request)),
      });
      router.service(admin.LimitsService, {
        listLimits: counted((caller, _request: admin.ListLimitsRequest) => {
          operatorOf(caller);
          return limits.list();
        }),
        setLimit: counted((caller, request: admin.SetLimitRequest) => limits.set(request, operatorOf(caller).spiffeId)),
        reloadLimits: counted((caller, _request: admin.ReloadLimitsRequest) =>
          limits.reload(operatorOf(caller).spiffeId),
        ),
      });
      router.service(admin.MetricsService, {
        readMetrics: counted((caller, _request: admin.ReadMetricsRequest) => ({ text: metrics(caller) })),
      });
    },
  };
}
