/** A network in memory for tests of agents: real certificates and MLS, no sockets, time that the test owns. */

export { SeededRandom } from "@causeway/core-base/testing";
export { DirectWire } from "./direct-wire.ts";
export { type Faults, Hub } from "./hub.ts";
export { ManualClock } from "./manual-clock.ts";
export { codeOf, type TestAgent, type TestAgentOptions, type TestHome, TestNetwork } from "./network.ts";
export { TestDomain, type TestIdentity } from "./test-domain.ts";
