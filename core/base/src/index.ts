export * from "./defaults.ts";
export * from "./errors.ts";
export * from "./ids.ts";
export * from "./machine.ts";
export * from "./time.ts";
