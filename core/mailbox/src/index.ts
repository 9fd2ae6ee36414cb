export * from "./effects.ts";
export type { MailFilter } from "./filter.ts";
export * from "./limits.ts";
export * from "./mailboxes.ts";
