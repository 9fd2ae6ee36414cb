export * from "./counters.ts";
export type * from "./authority-store.ts";
export * from "./defaults.ts";
export * from "./errors.ts";
export type * from "./gateway-store.ts";
export * from "./ids.ts";
export * from "./machine.ts";
export * from "./ports.ts";
export * from "./time.ts";
