import { refuse } from "@causeway/core-base";
import type { Priority } from "./api.ts";

/** True when a caller asks for bulk. Throws `CAUSEWAY_MISUSE` for what is no priority. */
export function isBulk(priority: Priority | undefined): boolean {
  if (priority === undefined || priority === "interactive") return false;
  if (priority === "bulk") return true;
  throw refuse("CAUSEWAY_MISUSE", `expected priority "interactive" or "bulk", got ${JSON.stringify(priority)}`);
}
