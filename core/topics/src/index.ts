export * from "./effects.ts";
export * from "./topic-name.ts";
export * from "./topics.ts";
