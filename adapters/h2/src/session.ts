import type { CausewayError } from "@causeway/core-base";
import type { Caller } from "./caller.ts";

/** One authenticated TLS connection of a port, whatever it carries. */
export interface Session {
  readonly caller: Caller;
  /** Nothing new; resolves when what is open has ended. */
  drain(): Promise<void>;
  /** Ends links with `reason` as status, tells the client why, and closes the connection. */
  end(reason: CausewayError): void;
  destroy(): void;
  /** Called every `pingEveryMs`: looks for signs of life, and gives up on the second silence. */
  watch(): void;
}

/** For statuses and GOAWAY to leave before the connection is cut. */
export const endGraceMs = 250;
