import type { EndSpec } from "./end.ts";

/** From the harness to a crowd. */
export type CrowdCommand =
  | {
      readonly do: "open";
      readonly system: string;
      readonly settings: Readonly<Record<string, unknown>>;
      readonly ends: readonly EndSpec[];
    }
  | { readonly do: "prepare"; readonly size: number; readonly isEchoing: boolean; readonly reportEvery?: number }
  /** Every end keeps so many messages outstanding, until `stop`. */
  | { readonly do: "ping"; readonly outstanding: number }
  /** The first end publishes `ahead` messages, and more as `allow` says. */
  | { readonly do: "flood"; readonly ahead: number }
  | { readonly do: "allow"; readonly until: number }
  | { readonly do: "halt"; readonly ends: readonly number[] }
  | { readonly do: "stop" }
  | { readonly do: "count" };

/** From a crowd. */
export type CrowdAnswer =
  | { readonly did: "open" }
  | { readonly did: "prepare" }
  | { readonly did: "halt" }
  | { readonly did: "stop"; readonly sent: number }
  | { readonly did: "progress"; readonly total: number }
  | { readonly did: "count"; readonly total: number; readonly received: readonly number[]; readonly at: number };
