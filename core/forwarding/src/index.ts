export { asksForAnswer, isFromGateway } from "./control-frame.ts";
export * from "./forward.ts";
export * from "./hop-trace.ts";
export * from "./policy.ts";
export * from "./policy-changes.ts";
export * from "./reasons.ts";
export * from "./resolutions.ts";
export * from "./route.ts";
export {
  ForwardingTable,
  type ForwardingTableOptions,
  type TableSnapshot,
  tableOf,
  type UnknownTargets,
} from "./table.ts";
export * from "./verdict.ts";
