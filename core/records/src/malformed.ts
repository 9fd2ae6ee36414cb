import { refuse } from "@causeway/core-base";

/** A CAUSEWAY_RECORD_MALFORMED that names the field by its path. */
export function malformed(field: string, problem: string): Error {
  return refuse("CAUSEWAY_RECORD_MALFORMED", `${field}: ${problem}`, { details: { field } });
}
