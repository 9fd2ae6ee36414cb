/** What tests and simulations need beyond the public interface: the machine with a rule replaced, and a network. */
export { RuledSyncMachine } from "../src/machine.ts";
export { productionRules, type SyncRules } from "../src/rules.ts";
export { convergenceFaults, hopsBetween, SafetyCheckers } from "./checkers.ts";
export { type Crossing, MemorySyncStore, type Move, type Node, type NodeOptions, SyncNetwork } from "./network.ts";
