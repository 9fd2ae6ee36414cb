import type { IdentityMaterial } from "../certificates.ts";

/** From the harness to one end. */
export type ClassesCommand =
  | {
      readonly do: "open";
      readonly url: string;
      readonly trustState: string;
      readonly identity: IdentityMaterial;
      /** Agent ID of whom it sends to. */
      readonly target: string;
    }
  /** Answers interactive messages, and takes so much bulk a second; 0 for as much as comes. */
  | { readonly do: "take"; readonly bulkBytesPerSecond: number }
  /** Sends bulk as fast as the gateway takes it, until `stop`. */
  | { readonly do: "flood"; readonly size: number }
  | { readonly do: "stop" }
  /** One interactive message outstanding for so long. */
  | { readonly do: "ping"; readonly size: number; readonly forMs: number }
  | { readonly do: "count" };

/** From an end. */
export type ClassesAnswer =
  | { readonly did: "open" | "take" | "flood" | "stop" }
  | { readonly did: "ping"; readonly micros: readonly number[] }
  | { readonly did: "count"; readonly bulkBytes: number; readonly at: number; readonly cpuSeconds: number };
