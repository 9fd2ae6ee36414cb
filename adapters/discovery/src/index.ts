/** Where a network says that gateways are. All of it is a hint (AAP-53). */
export { askByDatagram, type DatagramPort, serveDatagrams } from "./datagram.ts";
export { createDiscovery, type DiscoveryMethod, type DiscoverySources } from "./methods.ts";
