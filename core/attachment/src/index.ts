export * from "./agent.ts";
export * from "./agent-transitions.ts";
export { AttachmentSequence } from "./attachment-sequence.ts";
export {
  DatagramResponder,
  datagramBytesMax,
  decodeDatagramAnswer,
  encodeDatagramDiscover,
} from "./datagram-discovery.ts";
export { dhcpFileLengthMax, findDhcpOption, readDhcpOption } from "./dhcp-lease.ts";
export * from "./effects.ts";
export { formatEndpoint, parseEndpoint } from "./endpoint-text.ts";
export * from "./features.ts";
export * from "./gateway.ts";
export * from "./gateway-transitions.ts";
export { type AgreedUse, agreedUse, type GatewayUse, type Way, wayOf } from "./gateway-use.ts";
export type { ChannelBindingName } from "./hello.ts";
export { type HomeId, Homes, type HomesEffect, type HomeView, homesMax } from "./homes.ts";
export * from "./offers.ts";
export { orderSrv, type SrvRecord } from "./srv.ts";
export { orderSvcb, parseSvcb, type SvcbRecord } from "./svcb.ts";
