/** What a simulator needs beyond the public interface: the machine with one rule replaced. */
export { RuledSyncMachine } from "./machine.ts";
export { productionRules, type SyncRules } from "./rules.ts";
