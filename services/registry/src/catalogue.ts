/**
 * Everything the registry can answer with: own registrations and the records of other domains, indexed by words and by
 * meaning. Filters decide who is a candidate, ranking orders the candidates, and both say why.
 */

import { create } from "@bufbuild/protobuf";
import { type AgentId, type Domain, domainOf, shortName } from "@causeway/core-base";
import { type AgentRecord, encodeStatus, equalBytes, type Status } from "@causeway/core-records";
import { ars, record as wire } from "@causeway/core-wire";
import { type Asker, disclosedPlace, type Place } from "./disclosure.ts";
import { LexicalIndex } from "./search/lexical.ts";
import { type Embedder, SemanticIndex } from "./search/semantic.ts";
import { termsOf } from "./search/tokens.ts";

/** One agent that can be found. */
export interface CatalogueEntry extends Place {
  readonly agentId: AgentId;
  readonly record: AgentRecord;
  readonly signedRecord: wire.SignedRecord;
  /** Undefined for an agent that never attached. */
  readonly status: Status | undefined;
  /** False while the gateway that told of the record is lost (ANA-120). */
  readonly applicable: boolean;
  /** Certified URI of the serving gateway; empty when the agent never attached. */
  readonly gatewayUri: string;
  readonly freshUnixMs: number;
}

/** A bound on what one record contributes to the semantic index. */
const semanticTextsMax = 40;
/** Similarity under which a text counts as unrelated. */
const similarityFloor = 0.25;
/** Constant of reciprocal rank fusion, the customary value. */
const fusionConstant = 60;
const limitDefault = 10;
const limitMax = 100;

export class Catalogue {
  readonly #domain: Domain;
  readonly #embedder: Embedder | undefined;
  readonly #onEmbedFailed: (agentId: AgentId | undefined, thrown: unknown) => void;
  readonly #entries = new Map<AgentId, CatalogueEntry>();
  readonly #lexical = new LexicalIndex();
  readonly #semantic = new SemanticIndex();
  readonly #skillKeys = new Map<AgentId, ReadonlySet<string>>();
  /** Embedding runs one record at a time and behind the writes. */
  #embedding: Promise<void> = Promise.resolve();

  /** `onEmbedFailed` hears of texts that the embedder did not take; without an agent they are a query's. */
  constructor(
    domain: Domain,
    embedder: Embedder | undefined,
    onEmbedFailed: (agentId: AgentId | undefined, thrown: unknown) => void = () => undefined,
  ) {
    this.#domain = domain;
    this.#embedder = embedder;
    this.#onEmbedFailed = onEmbedFailed;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(agentId: AgentId): CatalogueEntry | undefined {
    return this.#entries.get(agentId);
  }

  entries(): IterableIterator<CatalogueEntry> {
    return this.#entries.values();
  }

  /** Adds or replaces. Text is indexed again only when the record's body changed. */
  put(entry: CatalogueEntry): void {
    const before = this.#entries.get(entry.agentId);
    this.#entries.set(entry.agentId, entry);
    if (before !== undefined && equalBytes(before.signedRecord.body, entry.signedRecord.body)) return;
    this.#skillKeys.set(
      entry.agentId,
      new Set(entry.record.card.skills.flatMap((skill) => [skill.id, skill.name].map(fold))),
    );
    this.#lexical.put(entry.agentId, [
      { text: entry.record.card.name, weight: 2 },
      { text: entry.record.card.description, weight: 1.5 },
      { text: entry.record.tags.join(" "), weight: 1.5 },
      ...entry.record.card.skills.flatMap((skill) => [
        { text: `${skill.id} ${skill.name}`, weight: 2 },
        { text: `${skill.description} ${skill.tags.join(" ")} ${skill.examples.join(" ")}`, weight: 1 },
      ]),
    ]);
    this.#embed(entry);
  }

  remove(agentId: AgentId): void {
    this.#entries.delete(agentId);
    this.#skillKeys.delete(agentId);
    this.#lexical.remove(agentId);
    this.#semantic.remove(agentId);
  }

  /** Resolves when every text so far is in the semantic index. */
  settled(): Promise<void> {
    return this.#embedding;
  }

  /** Answers a query. */
  async discover(query: ars.DiscoverRequest, asker: Asker): Promise<ars.DiscoverResponse> {
    const { admitted, notes } = this.#filter(query, asker.domain);
    const admit = (key: string) => admitted.has(key as AgentId);
    const ranked = query.text.trim() === "" ? this.#unranked(admitted, query) : await this.#ranked(query, admit);
    if (ranked.length === 0 && admitted.size > 0)
      notes.push(`none of ${admitted.size} admissible agents matches the words ${JSON.stringify(query.text)}`);
    const limit = Math.min(limitMax, query.limit === 0 ? limitDefault : query.limit);
    if (ranked.length > limit)
      notes.push(`${ranked.length - limit} weaker matches were left out by the limit of ${limit}`);
    return create(ars.DiscoverResponseSchema, {
      matches: ranked.slice(0, limit).flatMap(({ key, score, why }) => {
        const entry = this.#entries.get(key);
        return entry === undefined ? [] : [this.toMatch(entry, asker, { score, why })];
      }),
      notes,
      considered: BigInt(this.#entries.size),
    });
  }

  /** An entry as an answer, with no more of its place than `asker` may know. */
  toMatch(entry: CatalogueEntry, asker: Asker, { score, why }: { score: number; why: string }): ars.Match {
    const { gatewayUri, signedOrigin, path } = disclosedPlace(entry.agentId, entry, asker);
    return create(ars.MatchSchema, {
      agentId: entry.agentId,
      score,
      why,
      local: domainOf(entry.agentId) === this.#domain,
      status: entry.status === undefined ? wire.AgentStatus.UNSPECIFIED : encodeStatus(entry.status),
      gatewayUri,
      record: entry.signedRecord,
      ...(signedOrigin && { origin: signedOrigin }),
      path: [...path],
      freshUnixMs: BigInt(Math.trunc(entry.freshUnixMs)),
    });
  }

  /** True when `callerDomain` may see the record at all (C-21). */
  visibleTo(entry: CatalogueEntry, callerDomain: Domain): boolean {
    const visible = entry.record.visibleDomains;
    return visible.length === 0 || visible.includes(callerDomain) || domainOf(entry.agentId) === callerDomain;
  }

  #filter(query: ars.DiscoverRequest, callerDomain: Domain): { admitted: Set<AgentId>; notes: string[] } {
    const statuses = query.statuses.length > 0 ? query.statuses : [wire.AgentStatus.ONLINE, wire.AgentStatus.DEGRADED];
    const skills = query.skills.map(fold);
    const filters: readonly (readonly [name: string, keep: (entry: CatalogueEntry) => boolean])[] = [
      [
        `with status ${statuses.map((status) => wire.AgentStatus[status].toLowerCase()).join(" or ")}`,
        (entry) => entry.status !== undefined && statuses.includes(encodeStatus(entry.status)),
      ],
      ["reachable now (their gateway is connected)", (entry) => entry.applicable],
      [
        `in domain ${query.domains.join(" or ")}`,
        (entry) => query.domains.length === 0 || query.domains.includes(domainOf(entry.agentId)),
      ],
      [
        `with skill ${query.skills.join(" and ")}`,
        (entry) => skills.every((skill) => this.#skillKeys.get(entry.agentId)?.has(skill)),
      ],
      [`with tag ${query.tags.join(" and ")}`, (entry) => includesAll(tagsOf(entry), query.tags)],
      [
        `speaking protocol ${query.protocols.join(" and ")}`,
        (entry) =>
          query.protocols.every((wanted) => entry.record.protocols.some((p) => fold(p).startsWith(fold(wanted)))),
      ],
      [
        `speaking language ${query.languages.join(" and ")}`,
        (entry) =>
          query.languages.every((wanted) => entry.record.languages.some((l) => languageCovers(fold(l), fold(wanted)))),
      ],
    ];
    // What the caller may not see is not counted either: a count would tell of it.
    let candidates = [...this.#entries.values()].filter((entry) => this.visibleTo(entry, callerDomain));
    const notes: string[] = [];
    for (const [name, keep] of filters) {
      const kept = candidates.filter(keep);
      if (kept.length < candidates.length)
        notes.push(`${candidates.length - kept.length} of ${candidates.length} agents are not ${name}`);
      candidates = kept;
    }
    return { admitted: new Set(candidates.map((entry) => entry.agentId)), notes };
  }

  #unranked(admitted: ReadonlySet<AgentId>, query: ars.DiscoverRequest): Ranked[] {
    const filters = [...query.skills, ...query.tags, ...query.protocols, ...query.languages, ...query.domains];
    const why =
      filters.length === 0 ? "listed: the query has no conditions" : `fulfils every condition: ${filters.join(", ")}`;
    return [...admitted].sort().map((key) => ({ key, score: 1, why }));
  }

  /** Words and meaning, fused by reciprocal rank. */
  async #ranked(query: ars.DiscoverRequest, admit: (key: string) => boolean): Promise<Ranked[]> {
    const lexical = this.#lexical.search(query.text, admit);
    const vector = (await this.#embedded(undefined, [query.text]))?.[0];
    const semantic = vector ? this.#semantic.search(vector, admit, similarityFloor) : [];
    const termCount = new Set(termsOf(query.text)).size;
    const fused = new Map<string, { rank: number; strength: number; reasons: string[] }>();
    const take = (key: string, position: number, strength: number, reason: string) => {
      const hit = fused.get(key) ?? { rank: 0, strength: 0, reasons: [] };
      hit.rank += 1 / (fusionConstant + position);
      hit.strength = Math.max(hit.strength, strength);
      hit.reasons.push(reason);
      fused.set(key, hit);
    };
    lexical.forEach((hit, i) =>
      take(hit.key, i + 1, hit.terms.length / Math.max(1, termCount), `has the words ${hit.terms.join(", ")}`),
    );
    semantic.forEach((hit, i) =>
      take(
        hit.key,
        i + 1,
        hit.similarity,
        `means nearly the same as "${clip(hit.text)}" (similarity ${hit.similarity.toFixed(2)})`,
      ),
    );
    return [...fused]
      .map(([key, hit]) => ({
        key: key as AgentId,
        rank: hit.rank,
        score: Math.min(1, hit.strength),
        why: this.#explainRank(key as AgentId, hit.reasons),
      }))
      .sort((a, b) => b.rank - a.rank || b.score - a.score || (a.key < b.key ? -1 : 1));
  }

  #explainRank(key: AgentId, reasons: readonly string[]): string {
    const entry = this.#entries.get(key);
    return entry === undefined ? "" : `${shortName(key)} (${entry.record.card.name}) ${reasons.join(" and ")}`;
  }

  #embed(entry: CatalogueEntry): void {
    if (this.#embedder === undefined) return;
    const texts = [
      entry.record.card.description,
      ...entry.record.card.skills.flatMap((skill) => [`${skill.name}: ${skill.description}`, ...skill.examples]),
    ]
      .filter((text) => text.trim() !== "")
      .slice(0, semanticTextsMax);
    this.#embedding = this.#embedding.then(async () => {
      const isCurrent = (): boolean => {
        const body = this.#entries.get(entry.agentId)?.signedRecord.body;
        return body !== undefined && equalBytes(body, entry.signedRecord.body);
      };
      if (!isCurrent()) return;
      const vectors = await this.#embedded(entry.agentId, texts);
      if (vectors !== undefined && isCurrent()) this.#semantic.put(entry.agentId, texts, vectors);
    });
  }

  /** Undefined without an embedder, or when it failed: words still find what they can. */
  async #embedded(
    agentId: AgentId | undefined,
    texts: readonly string[],
  ): Promise<readonly Float32Array[] | undefined> {
    try {
      return await this.#embedder?.embed(texts);
    } catch (thrown) {
      this.#onEmbedFailed(agentId, thrown);
      return undefined;
    }
  }
}

interface Ranked {
  readonly key: AgentId;
  readonly score: number;
  readonly why: string;
}

const fold = (text: string): string => text.toLowerCase();
const clip = (text: string): string => (text.length <= 80 ? text : `${text.slice(0, 77)}...`);

function tagsOf(entry: CatalogueEntry): ReadonlySet<string> {
  return new Set([...entry.record.tags, ...entry.record.card.skills.flatMap((skill) => skill.tags)].map(fold));
}

function includesAll(have: ReadonlySet<string>, wanted: readonly string[]): boolean {
  return wanted.every((tag) => have.has(fold(tag)));
}

/** BCP 47 lookup: "en" asks for any English, "en-GB" for that or for undifferentiated English. */
function languageCovers(spoken: string, wanted: string): boolean {
  return spoken === wanted || spoken.startsWith(`${wanted}-`) || wanted.startsWith(`${spoken}-`);
}
