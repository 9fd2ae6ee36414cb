/** Where other agents of the domain take direct links: what they said inside MLS, and what the configuration says. */
import { type AgentId, agentOf, domainOf, instanceOf, parseSpiffeId, refuse, type SpiffeId } from "@causeway/core-base";

export class Addresses {
  readonly #self: AgentId;
  readonly #max: number;
  readonly #fixed = new Map<SpiffeId, string>();
  /** Oldest first. */
  readonly #told = new Map<SpiffeId, string>();

  /** Throws `CAUSEWAY_DIRECT_NOT_ALLOWED` for an agent of another domain, `CAUSEWAY_CONFIG_INVALID` for no address. */
  constructor(self: AgentId, fixed: Readonly<Record<string, string>>, max: number) {
    this.#self = self;
    this.#max = max;
    for (const [name, url] of Object.entries(fixed)) {
      const agent = parseSpiffeId(name);
      this.#check(agent);
      this.#fixed.set(agent, directUrl(url));
    }
  }

  get size(): number {
    return this.#fixed.size + this.#told.size;
  }

  /** What `from` says of itself. Throws as the constructor. */
  learn(from: SpiffeId, url: string): void {
    this.#check(from);
    const address = directUrl(url);
    this.#told.delete(from);
    this.#told.set(from, address);
    const [oldest] = this.#told.keys();
    if (this.#told.size > this.#max && oldest !== undefined) this.#told.delete(oldest);
  }

  /** The address of an agent, what it said last first; of a name without instance, that of any of its instances. */
  of(to: SpiffeId): string | undefined {
    return find(this.#told, to) ?? find(this.#fixed, to);
  }

  #check(agent: SpiffeId): void {
    const domain = domainOf(this.#self);
    if (domainOf(agent) === domain) return;
    const problem = `expected an agent of ${domain} as direct partner, got ${agent}; agents of other domains are reached through gateways`;
    throw refuse("CAUSEWAY_DIRECT_NOT_ALLOWED", problem);
  }
}

function find(among: ReadonlyMap<SpiffeId, string>, to: SpiffeId): string | undefined {
  const exact = among.get(to);
  if (exact !== undefined || instanceOf(to) !== undefined) return exact;
  let last: string | undefined;
  for (const [name, url] of among) if (agentOf(name) === to) last = url;
  return last;
}

/** A URL of nothing but host and port. */
export function directUrl(text: string): string {
  const url = text.length <= urlCharsMax && URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url?.protocol === "https:" && url.username === "" && url.pathname === "/" && url.search === "";
  if (url && isPlain && url.hash === "" && url.password === "") return url.origin;
  const problem = `expected the address of a direct link like https://10.0.0.7:7500, got ${JSON.stringify(text.slice(0, 100))}`;
  throw refuse("CAUSEWAY_CONFIG_INVALID", problem);
}

const urlCharsMax = 300;
