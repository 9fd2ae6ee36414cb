import type { IdentityMaterial } from "../certificates.ts";

/** One connection of a crowd. */
export interface CrowdEnd {
  /** Sends one message of the prepared size to the end's target. False when the connection takes no more for now. */
  send(): boolean;
  prepareSize(bytes: number): void;
  onReceive(run: (count: number) => void): void;
  onWritable(run: () => void): void;
  /** Stops reading. */
  halt(): void;
  resume(): void;
}

/** What an end is to be. */
export interface EndSpec {
  /** Agent ID, or subject. */
  readonly name: string;
  /** Ours only. */
  readonly identity?: IdentityMaterial;
  readonly instance?: string;
  readonly target?: { readonly agent: string } | { readonly topic: string };
  readonly subscribe?: string;
  /** Messages are to be stored durably; what is received are the acknowledgements of that. */
  readonly isStored?: boolean;
}

/** Connects an end to its system. */
export type OpenCrowdEnd = (settings: Readonly<Record<string, unknown>>, spec: EndSpec) => Promise<CrowdEnd>;
