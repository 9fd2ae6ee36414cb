/**
 * In-memory BM25 over the text of records. Postings are maps by document, so that one record's change costs its own
 * terms only.
 */
import { termsOf } from "./tokens.ts";

/** A ranked document with the query terms that it has. */
export interface LexicalHit {
  readonly key: string;
  readonly score: number;
  readonly terms: readonly string[];
}

/** Text of one document, with the weight of each part. */
export interface WeightedText {
  readonly text: string;
  readonly weight: number;
}

interface Document {
  readonly frequencies: ReadonlyMap<string, number>;
  readonly length: number;
}

/** Saturation of repeated terms and weight of length, the customary values. */
const k1 = 1.2;
const b = 0.6;

export class LexicalIndex {
  readonly #documents = new Map<string, Document>();
  readonly #postings = new Map<string, Map<string, number>>();
  #totalLength = 0;

  get size(): number {
    return this.#documents.size;
  }

  /** Adds or replaces a document. */
  put(key: string, texts: readonly WeightedText[]): void {
    this.remove(key);
    const frequencies = new Map<string, number>();
    let length = 0;
    for (const { text, weight } of texts) {
      for (const term of termsOf(text)) {
        frequencies.set(term, (frequencies.get(term) ?? 0) + weight);
        length += 1;
      }
    }
    this.#documents.set(key, { frequencies, length });
    this.#totalLength += length;
    for (const [term, frequency] of frequencies) {
      let posting = this.#postings.get(term);
      if (posting === undefined) this.#postings.set(term, (posting = new Map()));
      posting.set(key, frequency);
    }
  }

  remove(key: string): void {
    const document = this.#documents.get(key);
    if (document === undefined) return;
    this.#documents.delete(key);
    this.#totalLength -= document.length;
    for (const term of document.frequencies.keys()) {
      const posting = this.#postings.get(term);
      posting?.delete(key);
      if (posting?.size === 0) this.#postings.delete(term);
    }
  }

  /** Documents that have at least one term of `query`, best first. `admit` filters before ranking. */
  search(query: string, admit: (key: string) => boolean): LexicalHit[] {
    const hits = new Map<string, { score: number; terms: string[] }>();
    const meanLength = this.#totalLength / Math.max(1, this.#documents.size);
    for (const term of new Set(termsOf(query))) {
      const posting = this.#postings.get(term);
      if (posting === undefined) continue;
      const rarity = Math.log(1 + (this.#documents.size - posting.size + 0.5) / (posting.size + 0.5));
      for (const [key, frequency] of posting) {
        if (!admit(key)) continue;
        const length = this.#documents.get(key)?.length ?? meanLength;
        const score =
          (rarity * frequency * (k1 + 1)) / (frequency + k1 * (1 - b + (b * length) / Math.max(1, meanLength)));
        const hit = hits.get(key);
        if (hit === undefined) hits.set(key, { score, terms: [term] });
        else {
          hit.score += score;
          hit.terms.push(term);
        }
      }
    }
    return [...hits]
      .map(([key, { score, terms }]) => ({ key, score, terms }))
      .sort((x, y) => y.score - x.score || (x.key < y.key ? -1 : 1));
  }
}
