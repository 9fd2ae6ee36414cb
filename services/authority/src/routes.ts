import type { ConnectRouter } from "@connectrpc/connect";
import { refuse } from "@causeway/core-base";
import type { Authority } from "./authority.ts";
import type { CallerOf } from "./caller.ts";

/** The authority as a Connect service. `callerOf` reads the caller from the context. */
export function authorityRoutes(_authority: Authority, _callerOf: CallerOf): (router: ConnectRouter) => void {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}
