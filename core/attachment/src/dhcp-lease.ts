/**
 * Gateways in DHCP data (AAP-52): what a client has stored of a lease, and the value of the option in it. Everything
 * here was said by whoever answered first on the network, so it is read with bounds and means no more than "try there".
 */
import { assigned } from "@causeway/core-base";
import { parseEndpoint } from "./endpoint-text.ts";

/** Longest value that is read; RFC 3396 allows an option to come in several parts. */
export const dhcpValueBytesMax = 1_024;
/** Longest lease file that is read. */
export const dhcpFileLengthMax = 1_048_576;

/**
 * Endpoints in the value of the option: text of addresses, host names or URLs, each with or without a port, with commas
 * or spaces between; or nothing but IPv4 addresses of four bytes each.
 */
export function readDhcpOption(value: Uint8Array, defaultPort: number = assigned.gatewayPort): readonly string[] {
  if (value.length === 0 || value.length > dhcpValueBytesMax) return [];
  // Some servers end text with a zero byte.
  const text = value.at(-1) === 0 ? value.subarray(0, -1) : value;
  if (text.length > 0 && text.every((byte) => byte >= 0x20 && byte < 0x7f)) {
    const words = String.fromCharCode(...text).split(/[\s,]+/);
    return words.filter((word) => word !== "").flatMap((word) => parseEndpoint(word, defaultPort) ?? []);
  }
  if (value.length % 4 !== 0) return [];
  return Array.from({ length: value.length / 4 }, (_, i) => value.subarray(i * 4, i * 4 + 4).join(".")).flatMap(
    (address) => parseEndpoint(address, defaultPort) ?? [],
  );
}

/**
 * The value of an option in what a DHCP client has stored; undefined when it is not there. Understands the lease files
 * of dhclient (the last lease that has the option counts), of systemd-networkd (`OPTION_224=hex`), of NetworkManager
 * (`unknown_224=`), and the variables that udhcpc and dhcpcd give to their scripts (`opt224=hex`, `new_unknown_224=`).
 */
export function findDhcpOption(file: string, option: number = assigned.dhcpOption): Uint8Array | undefined {
  if (file.length > dhcpFileLengthMax) return undefined;
  let found: Uint8Array | undefined;
  const name = `(?:option[ _]|opt|new_|private_|dhcp4_)*(?:unknown[_-]|option_|opt)?${option}`;
  const line = new RegExp(`^\\s*(?:export\\s+)?${name}\\s*[ =]\\s*(.+?);?\\s*$`, "i");
  for (const each of file.split("\n")) {
    if (each.length > lineLengthMax) continue;
    const value = line.exec(each)?.[1];
    if (value !== undefined) found = readValue(value) ?? found;
  }
  return found;
}

/** Text in quotes, hexadecimal with or without colons, or plain text. */
function readValue(text: string): Uint8Array | undefined {
  const quoted = /^(["'])(.*)\1$/.exec(text)?.[2];
  const value = quoted ?? text;
  if (quoted === undefined || !text.startsWith('"')) {
    const hex = /^[0-9a-f]{1,2}(?::[0-9a-f]{1,2})+$/i.test(value)
      ? value.split(":").map((byte) => byte.padStart(2, "0"))
      : /^(?:[0-9a-f]{2})+$/i.test(value)
        ? (value.match(/../g) ?? [])
        : undefined;
    if (hex !== undefined) return bounded(Uint8Array.from(hex, (byte) => Number.parseInt(byte, 16)));
  }
  // dhclient writes bytes that are not printable as three octal digits.
  const plain = value.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8) & 255),
  );
  return bounded(Uint8Array.from(plain, (character) => character.charCodeAt(0) & 255));
}

const bounded = (value: Uint8Array): Uint8Array | undefined =>
  value.length === 0 || value.length > dhcpValueBytesMax ? undefined : value;

const lineLengthMax = 8_192;
