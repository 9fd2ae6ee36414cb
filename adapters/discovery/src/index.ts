/** Where a network says that gateways are. All of it is a hint (AAP-53). */
export { createDiscovery, type DiscoveryMethod, type DiscoverySources } from "./methods.ts";
