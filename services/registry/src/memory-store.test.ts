import { registryStoreContract } from "../../../testing/contracts/src/registry-store.ts";
import { createMemoryRegistryStore } from "./memory-store.ts";

registryStoreContract("registry store in memory", createMemoryRegistryStore);
