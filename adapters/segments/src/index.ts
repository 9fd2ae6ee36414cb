export { type MailboxStoreOptions, openMailboxStore } from "./mailbox-store.ts";
