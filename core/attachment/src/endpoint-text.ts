/**
 * Endpoints as people, DHCP servers and DNS records write them (AAP-52): an address, a host name, either with a port, or
 * a whole URL. What comes in is not trusted; what goes out is `https://host:port` or nothing.
 */
import { assigned } from "@causeway/core-base";

/** Longest text that is read as one endpoint. */
export const endpointLengthMax = 300;

const portPattern = /^[0-9]{1,5}$/;
const hostPattern =
  /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
const ipv6Pattern = /^[0-9a-f:]{2,39}(?:%[a-z0-9]{1,15})?$|^::ffff:[0-9.]{7,15}$/;

/** The endpoint of a text; undefined when it is none. */
export function parseEndpoint(text: string, defaultPort: number = assigned.gatewayPort): string | undefined {
  if (text.length > endpointLengthMax) return undefined;
  let rest = text.trim().toLowerCase();
  if (rest.startsWith("https://")) rest = rest.slice("https://".length).replace(/\/$/, "");
  else if (rest.includes("://")) return undefined;
  let host: string;
  let port: string | undefined;
  if (rest.startsWith("[")) {
    const end = rest.indexOf("]");
    host = rest.slice(1, end);
    if (end < 0 || !ipv6Pattern.test(host)) return undefined;
    port = rest.slice(end + 1);
    if (port !== "" && !port.startsWith(":")) return undefined;
    port = port === "" ? undefined : port.slice(1);
  } else if (rest.split(":").length > 2) {
    host = rest;
    if (!ipv6Pattern.test(host)) return undefined;
  } else {
    [host = "", port] = rest.split(":");
    host = host.replace(/\.$/, "");
    if (!hostPattern.test(host)) return undefined;
  }
  return formatEndpoint(host, port === undefined ? defaultPort : portPattern.test(port) ? Number(port) : -1);
}

/** `https://host:port`; undefined for a port that cannot be. */
export function formatEndpoint(host: string, port: number): string | undefined {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  return `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
