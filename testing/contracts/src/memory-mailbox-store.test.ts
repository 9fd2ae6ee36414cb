import { mailboxStoreContract } from "./mailbox-store.ts";
import { MemoryMailboxStore } from "./memory-mailbox-store.ts";

mailboxStoreContract("memory", { create: () => new MemoryMailboxStore(), reopen: (store) => store });
