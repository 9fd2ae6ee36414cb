/**
 * SVCB records (RFC 9460) that name gateways: RDATA as it comes from a resolver, read with every bound checked. A record
 * that demands a parameter that is not known here is left out, as the RFC wants it.
 */

/** One record. Priority 0 is an alias: the answer for `target` counts instead. */
export interface SvcbRecord {
  readonly priority: number;
  /** Without the dot at the end; empty for the owner of the record. */
  readonly target: string;
  readonly port: number | undefined;
  readonly alpn: readonly string[] | undefined;
  /** Addresses of the target, as hints of the record: IPv4 first. */
  readonly addresses: readonly string[];
}

/** Reads RDATA; undefined when it is malformed, or demands what is not known here. */
export function parseSvcb(rdata: Uint8Array): SvcbRecord | undefined {
  const view = new DataView(rdata.buffer, rdata.byteOffset, rdata.byteLength);
  if (rdata.length < 3) return undefined;
  const priority = view.getUint16(0);
  const name = readName(rdata, 2);
  if (name === undefined) return undefined;
  const parameters = new Map<number, Uint8Array>();
  let last = -1;
  let at = name.end;
  while (at < rdata.length) {
    if (at + 4 > rdata.length) return undefined;
    const key = view.getUint16(at);
    const length = view.getUint16(at + 2);
    const end = at + 4 + length;
    // Keys stand in ascending order, each once.
    if (end > rdata.length || key <= last) return undefined;
    parameters.set(key, rdata.subarray(at + 4, end));
    last = key;
    at = end;
  }
  if (priority === 0) return { priority, target: name.text, port: undefined, alpn: undefined, addresses: [] };
  return readService(priority, name.text, parameters);
}

/** Records in the order in which they are to be tried: lowest priority value first, equal ones as they came. */
export function orderSvcb(records: readonly SvcbRecord[]): readonly SvcbRecord[] {
  return records
    .filter((record) => record.alpn === undefined || record.alpn.includes("h2"))
    .toSorted((a, b) => a.priority - b.priority);
}

function readService(
  priority: number,
  target: string,
  parameters: ReadonlyMap<number, Uint8Array>,
): SvcbRecord | undefined {
  const mandatory = parameters.get(keys.mandatory);
  if (mandatory !== undefined) {
    if (mandatory.length === 0 || mandatory.length % 2 !== 0) return undefined;
    for (let at = 0; at < mandatory.length; at += 2) {
      const key = uint16(mandatory, at);
      if (key === keys.mandatory || !parameters.has(key) || !understood.has(key)) return undefined;
    }
  }
  const port = parameters.get(keys.port);
  if (port !== undefined && port.length !== 2) return undefined;
  const alpn = parameters.get(keys.alpn);
  const protocols = alpn && readStrings(alpn);
  if (alpn !== undefined && protocols === undefined) return undefined;
  const v4 = readAddresses(parameters.get(keys.ipv4hint), 4, (bytes) => bytes.join("."));
  const v6 = readAddresses(parameters.get(keys.ipv6hint), 16, formatIpv6);
  if (v4 === undefined || v6 === undefined) return undefined;
  return { priority, target, port: port && uint16(port, 0), alpn: protocols, addresses: [...v4, ...v6] };
}

/** A name without compression, which RDATA of SVCB must not have. */
function readName(bytes: Uint8Array, from: number): { readonly text: string; readonly end: number } | undefined {
  const labels: string[] = [];
  let at = from;
  for (;;) {
    const length = bytes[at];
    if (length === undefined || length > labelBytesMax || at - from > nameBytesMax) return undefined;
    at++;
    if (length === 0) return { text: labels.join("."), end: at };
    const label = bytes.subarray(at, at + length);
    if (label.length < length) return undefined;
    const text = String.fromCharCode(...label).toLowerCase();
    if (!/^[a-z0-9_-]+$/.test(text)) return undefined;
    labels.push(text);
    at += length;
  }
}

function readStrings(bytes: Uint8Array): readonly string[] | undefined {
  const out: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at] ?? 0;
    if (length === 0 || at + 1 + length > bytes.length) return undefined;
    out.push(String.fromCharCode(...bytes.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  return out.length === 0 ? undefined : out;
}

function readAddresses(
  bytes: Uint8Array | undefined,
  size: number,
  format: (bytes: Uint8Array) => string,
): readonly string[] | undefined {
  if (bytes === undefined) return [];
  if (bytes.length === 0 || bytes.length % size !== 0) return undefined;
  return Array.from({ length: bytes.length / size }, (_, i) => format(bytes.subarray(i * size, (i + 1) * size)));
}

const formatIpv6 = (bytes: Uint8Array): string =>
  Array.from({ length: 8 }, (_, i) => uint16(bytes, i * 2).toString(16)).join(":");

const uint16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

const keys = { mandatory: 0, alpn: 1, noDefaultAlpn: 2, port: 3, ipv4hint: 4, ipv6hint: 6 } as const;
const understood: ReadonlySet<number> = new Set(Object.values(keys));
const labelBytesMax = 63;
const nameBytesMax = 255;
