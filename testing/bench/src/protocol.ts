import type { ClientConfig } from "./system.ts";

/** From the harness to a client process. */
export type Command =
  | { readonly do: "open"; readonly config: ClientConfig; readonly role: "sender" | "receiver" }
  /** Sets the payload size and resets all counts. */
  | { readonly do: "prepare"; readonly size: number; readonly isEchoing: boolean; readonly reportEvery?: number }
  /** Sends until `stop`, at most `aheadMax` messages ahead of what was acknowledged. */
  | { readonly do: "flood"; readonly aheadMax: number }
  | { readonly do: "acknowledge"; readonly received: number }
  | { readonly do: "stop" }
  | { readonly do: "count" }
  /** One message outstanding, for this long. */
  | { readonly do: "roundTrips"; readonly forMs: number };

/** From a client process. */
export type Answer =
  | { readonly did: "open"; readonly facts: Readonly<Record<string, string>> }
  | { readonly did: "prepare" }
  | { readonly did: "progress"; readonly received: number }
  | { readonly did: "stop"; readonly sent: number }
  | { readonly did: "count"; readonly received: number; readonly at: number }
  | { readonly did: "roundTrips"; readonly micros: readonly number[] };

/** Recognises one answer. */
export const answers =
  <Did extends Answer["did"]>(did: Did) =>
  (message: unknown): message is Extract<Answer, { did: Did }> =>
    typeof message === "object" && message !== null && "did" in message && message.did === did;
