export * from "./effects.ts";
export * from "./limits.ts";
export * from "./mailboxes.ts";
