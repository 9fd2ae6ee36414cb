import { mailboxStoreContract } from "./mailbox-store.ts";
import { MemoryMailboxStore } from "./memory-mailbox-store.ts";

mailboxStoreContract("memory", {
  create: () => new MemoryMailboxStore(),
  reopen(store) {
    if (store instanceof MemoryMailboxStore) return store.afterCrash();
    throw new Error("not a store of this test");
  },
});
