/**
 * Values that a registry would assign (AAP-104). Nobody has assigned them yet, so they are of private use; each of them
 * is a default that configuration replaces, but for the media type, and nothing else in the sources repeats one.
 */
export const assigned = {
  /** TCP port of a gateway whose hint names none. */
  gatewayPort: 7443,
  /** UDP port of the datagram variant of GW-DISCOVER. */
  discoveryPort: 7443,
  /** Anycast addresses of GW-DISCOVER, for networks that have none of their own. */
  anycastAddress: "10.74.43.1",
  anycastAddressV6: "fd74:43::1",
  /** Site-specific DHCPv4 option (RFC 3942: 224 to 254) with gateways in it. */
  dhcpOption: 224,
  /** SVCB records: this label before the domain (RFC 9460, RFC 8552). */
  dnsLabel: "_causeway",
  /** DNS-SD and SRV records: this service before the domain (RFC 6763). */
  dnsService: "_causeway._tcp",
  /** Media type of a link: gRPC's, since the protocols have none of their own. Proxies and stock clients go by it. */
  linkMediaType: "application/grpc+proto",
} as const;
