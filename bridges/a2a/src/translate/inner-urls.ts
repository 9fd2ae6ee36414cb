/**
 * URLs of a card that lie inside: a card is registered byte for byte, its signatures cover it, and everybody who finds
 * the agent reads it, in other domains as well (AAP-24).
 */

/** URLs of a card that are of no use outside. */
export interface InnerUrls {
  /** Of this machine: they mean nothing elsewhere, and give nothing away. */
  readonly loopback: readonly string[];
  /** Of a network that others cannot enter: they tell how it is built. */
  readonly inner: readonly string[];
}

/** Looks at every text of the card. */
export function innerUrlsOf(card: unknown): InnerUrls {
  const found = { loopback: new Set<string>(), inner: new Set<string>() };
  const visit = (value: unknown, key: string): void => {
    if (typeof value === "string") {
      const host = hostOf(value, key === "url");
      const kind = host === undefined ? undefined : kindOf(host);
      if (kind !== undefined) found[kind].add(value);
    } else if (typeof value === "object" && value !== null) {
      for (const [name, member] of Object.entries(value)) visit(member, name);
    }
  };
  visit(card, "");
  return { loopback: [...found.loopback], inner: [...found.inner] };
}

/** The host of a URL; of `host:port` as well where a URL is expected, as gRPC interfaces have it. */
function hostOf(text: string, isUrl: boolean): string | undefined {
  const isBare = isUrl && /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+):\d+$/i.test(text);
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : isBare ? `https://${text}` : undefined;
  // As a web address, whatever the scheme: only then is the host read as an address.
  return url === undefined ? undefined : URL.parse(url.replace(/^[a-z][a-z0-9+.-]*:/i, "https:"))?.hostname;
}

function kindOf(hostname: string): "loopback" | "inner" | undefined {
  const host = hostname.replace(/\.$/, "").toLowerCase();
  const v6 = /^\[(.*)\]$/.exec(host)?.[1];
  if (v6 !== undefined) {
    const v4 = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(v6);
    if (v4 !== null) {
      const [high, low] = [Number.parseInt(v4[1] ?? "", 16), Number.parseInt(v4[2] ?? "", 16)];
      return kindOf([high >> 8, high & 255, low >> 8, low & 255].join("."));
    }
    if (v6 === "::1" || v6 === "::") return "loopback";
    return /^(f[cd]|fe[89ab])/.test(v6) ? "inner" : undefined;
  }
  const parts = /^\d+\.\d+\.\d+\.\d+$/.test(host) ? host.split(".").map(Number) : undefined;
  if (parts !== undefined) {
    const [a = 0, b = 0] = parts;
    if (a === 127 || a === 0) return "loopback";
    const isInner =
      a === 10 ||
      (a === 172 && b >= 16 && b < 32) ||
      (a === 192 && b === 168) ||
      (a === 169 && b === 254) ||
      (a === 100 && b >= 64 && b < 128);
    return isInner ? "inner" : undefined;
  }
  if (host === "localhost" || host.endsWith(".localhost")) return "loopback";
  return !host.includes(".") || innerSuffixes.some((suffix) => host.endsWith(suffix)) ? "inner" : undefined;
}

/** Names that are resolved inside a network only. */
const innerSuffixes = [".local", ".internal", ".lan", ".home.arpa", ".intranet", ".corp", ".home", ".private"];
