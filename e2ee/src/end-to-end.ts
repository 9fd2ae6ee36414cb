import { refuse } from "@causeway/core-base";
import type { EndToEnd, EndToEndOptions } from "./api.ts";

/** Opens the end-to-end layer of one agent: reads its groups and key packages from the store. */
export async function createEndToEnd(options: EndToEndOptions): Promise<EndToEnd> {
  throw refuse("CAUSEWAY_UNSUPPORTED", `the end-to-end layer of ${options.agentId} is not available`);
}
