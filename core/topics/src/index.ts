export * from "./effects.ts";
export * from "./topic-name.ts";
export { maySubscribe } from "./topic-table.ts";
export * from "./topics.ts";
