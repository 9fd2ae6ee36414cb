export * from "./coverage.ts";
export * from "./manifest.ts";
