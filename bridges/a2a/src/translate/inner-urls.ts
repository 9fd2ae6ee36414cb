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

/** Looks at every text of the card, and for URLs within texts. */
export function innerUrlsOf(card: unknown): InnerUrls {
  const found = { loopback: new Set<string>(), inner: new Set<string>() };
  const visit = (value: unknown, key: string): void => {
    if (typeof value === "string") {
      for (const { url, host } of urlsIn(value, key === "url")) {
        const kind = kindOf(host);
        if (kind !== undefined) found[kind].add(url);
      }
    } else if (typeof value === "object" && value !== null) {
      for (const [name, member] of Object.entries(value)) visit(member, name);
    }
  };
  visit(card, "");
  return { loopback: [...found.loopback], inner: [...found.inner] };
}

/** A URL, and the host that it leads to. */
interface FoundUrl {
  readonly url: string;
  readonly host: string;
}

/** The URLs in a text: the whole of one that is a URL, and those that others name in passing up to host and port. */
function urlsIn(text: string, isUrl: boolean): readonly FoundUrl[] {
  const isWhole = /^[a-z][a-z0-9+.-]*:\/\/\S*$/i.test(text);
  const bare = isUrl && bareAddress.test(text) ? hostOf(`https://${text}`) : undefined;
  if (bare !== undefined) return [{ url: text, host: bare }];
  return [...text.matchAll(urlInText)].flatMap((match) => {
    const { scheme = "", user = "", name = "", port = "" } = match.groups ?? {};
    const host = hostOf(`${scheme}://${name}`);
    if (host === undefined) return [];
    const isFirst = match.index === scheme.length;
    return [{ url: isWhole && isFirst ? text : `${scheme}://${user}${name}${port}`, host }];
  });
}

/** As of a web address, whatever the scheme: only then is the host read as an address. */
function hostOf(url: string): string | undefined {
  return URL.parse(url.replace(/^[a-z][a-z0-9+.-]*:/i, "https:"))?.hostname;
}

/** `host:port`, as gRPC interfaces have it where a URL is expected. */
const bareAddress = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+):\d+$/i;

/** What a reader takes for a URL, without the full stop of a sentence. It begins at `://`, so that long texts are read once. */
const urlInText =
  /(?<=(?<scheme>[a-z][a-z0-9+.-]*)):\/\/(?<user>[^\s/?#]*@)?(?<name>\[[0-9a-f:.]+\]|[\p{L}\p{N}.。．｡%_-]*[\p{L}\p{N}])(?<port>:\d+)?/giu;

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
