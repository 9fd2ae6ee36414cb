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
  const operatorOf = (context: HandlerContext): VerifiedPeer => requireOperatorOf(registry.domain, callerOf(context));
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
        listLimits: (_request, context) => {
          operatorOf(context);
          return limits.list();
        },
        setLimit: (request, context) => limits.set(request, operatorOf(context).spiffeId),
        reloadLimits: (_request, context) => limits.reload(operatorOf(context).spiffeId),
      });
      router.service(admin.MetricsService, {
        readMetrics: (_request, context) => ({ text: metrics(callerOf(context)) }),
      });
    },
  };
}
