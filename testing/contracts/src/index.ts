export { type GatewayStoreSubject, gatewayStoreContract } from "./gateway-store.ts";
export { type MailboxStoreSubject, mailboxStoreContract } from "./mailbox-store.ts";
export { MemoryGatewayStore } from "./memory-gateway-store.ts";
export { MemoryMailboxStore } from "./memory-mailbox-store.ts";
