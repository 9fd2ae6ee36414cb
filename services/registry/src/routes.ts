/** The registry as Connect services. Refusals are rendered by the port that serves them. */
import { requireOperatorOf, type VerifiedPeer } from "@causeway/core-identity";
import { admin, ars, type LimitsAdmin } from "@causeway/core-wire";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { RegistryLimits } from "./limits.ts";
import type { Registry } from "./registry.ts";

/** Registers RegistryService and, for operators, LimitsService. `callerOf` reads who called from the connection. */
export function registryRoutes(
  registry: Registry,
  limits: LimitsAdmin<RegistryLimits>,
  callerOf: (context: HandlerContext) => VerifiedPeer,
): (router: ConnectRouter) => void {
  const operatorOf = (context: HandlerContext): VerifiedPeer => requireOperatorOf(registry.domain, callerOf(context));
  return (router) => {
    router.service(ars.RegistryService, {
      register: (request, context) => registry.register(callerOf(context), request),
      deregister: (request, context) => registry.deregister(callerOf(context), request),
      discover: (request, context) => registry.discover(callerOf(context), request),
      getRecord: (request, context) => registry.getRecord(callerOf(context), request),
    });
    router.service(admin.LimitsService, {
      listLimits: (_request, context) => {
        operatorOf(context);
        return limits.list();
      },
      setLimit: (request, context) => limits.set(request, operatorOf(context).spiffeId),
      reloadLimits: (_request, context) => limits.reload(operatorOf(context).spiffeId),
    });
  };
}
