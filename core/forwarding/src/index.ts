export * from "./forward.ts";
export * from "./hop-trace.ts";
export * from "./policy.ts";
export * from "./route.ts";
export * from "./table.ts";
export * from "./verdict.ts";
