import { gatewayStoreContract } from "./gateway-store.ts";
import { MemoryGatewayStore } from "./memory-gateway-store.ts";

gatewayStoreContract("memory", {
  create: (epoch) => new MemoryGatewayStore(epoch),
  reopen: (store) => store,
});
