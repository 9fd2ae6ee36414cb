import type { Processes } from "./processes.ts";

/** A gateway process that is measured. */
export interface RunningGateway {
  readonly pid: number;
  /** What a client process needs to reach it; has to survive JSON. */
  readonly clients: { readonly sender: ClientConfig; readonly receiver: ClientConfig };
  stop(): Promise<void>;
}

/** Times of leases that differ from the defaults of our gateway, in milliseconds. */
export interface LeaseTimes {
  readonly heartbeatMs?: number;
  readonly staleAfterMs?: number;
  readonly removeAfterStaleMs?: number;
}

/** Tells a client process which system it speaks to. */
export interface ClientConfig {
  /** Name of the module under `clients/`. */
  readonly client: "causeway" | "link" | "nats" | "slim";
  readonly settings: Readonly<Record<string, unknown>>;
}

/** One system under measurement. */
export interface RelaySystem {
  readonly name: string;
  /** For the header: what exactly is measured. */
  readonly description: string;
  /** Makes it available; the reason when it cannot be measured here. */
  prepare(): Promise<{ readonly version: string } | { readonly missing: string }>;
  /** `isStoring`: with durable storage under `workDir`, where that is an option of the system. */
  start(processes: Processes, workDir: string, isStoring?: boolean): Promise<RunningGateway>;
}

/** Client side of one system, inside a client process. */
export interface RelayEnd {
  /** Facts for the report, for example the TLS cipher suite. */
  readonly facts: Readonly<Record<string, string>>;
  /** Sends one message of the prepared size to the other end. False: wait for `onWritable`. */
  send(): boolean;
  /** Chooses the payload size of the next messages. */
  prepareSize(bytes: number): void;
  onWritable(run: () => void): void;
  /** Called with the number of messages that arrived together. */
  onReceive(run: (count: number) => void): void;
}

/** Opens the client side. */
export type OpenEnd = (settings: Readonly<Record<string, unknown>>, role: "sender" | "receiver") => Promise<RelayEnd>;
