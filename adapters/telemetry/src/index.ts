export { type CounterRegistry, createCounters } from "./counters.ts";
export { type BoundLog, createLog, type LogFields, type LogLevel, type LogOptions } from "./log.ts";
export { type LogLine, MemoryLog } from "./memory-log.ts";
export { watchProcess } from "./process-usage.ts";
