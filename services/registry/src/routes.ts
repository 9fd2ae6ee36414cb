/** The registry as a Connect service. Refusals are rendered by the port that serves it. */
import type { VerifiedPeer } from "@causeway/core-identity";
import { ars } from "@causeway/core-wire";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { Registry } from "./registry.ts";

/** Registers RegistryService. `callerOf` reads who called from the connection. */
export function registryRoutes(
  registry: Registry,
  callerOf: (context: HandlerContext) => VerifiedPeer,
): (router: ConnectRouter) => void {
  return (router) =>
    void router.service(ars.RegistryService, {
      register: (request, context) => registry.register(callerOf(context), request),
      deregister: (request, context) => registry.deregister(callerOf(context), request),
      discover: (request, context) => registry.discover(callerOf(context), request),
      getRecord: (request, context) => registry.getRecord(callerOf(context), request),
    });
}
