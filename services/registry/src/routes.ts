/** The registry as Connect services. Refusals are rendered by the port that serves them. */
import { refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
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
  const operatorOf = (context: HandlerContext): VerifiedPeer => {
    const caller = callerOf(context);
    if (caller.role === "operator" && caller.domain === registry.domain) return caller;
    throw refuse(
      "CAUSEWAY_IDENTITY_ROLE_WRONG",
      `expected an operator of ${registry.domain}, got the ${caller.role} ${caller.spiffeId}`,
    );
  };
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
