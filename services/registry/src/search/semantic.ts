/** Exact nearest-neighbour search over sentence vectors, kept as int8 (a quarter of the memory, same ranking in practice). */

/** Turns texts into vectors of one fixed length. Slow: called once for each new text, never under a lock. */
export interface Embedder {
  embed(texts: readonly string[]): Promise<readonly Float32Array[]>;
}

export interface SemanticHit {
  readonly key: string;
  /** Cosine similarity of the best text of the document, -1 to 1. */
  readonly similarity: number;
  /** Which text of the document was nearest. */
  readonly text: string;
}

interface Entry {
  readonly text: string;
  readonly vector: Int8Array;
  readonly norm: number;
}

export class SemanticIndex {
  readonly #entries = new Map<string, readonly Entry[]>();

  /** Adds or replaces the vectors of a document, one for each of its texts. */
  put(key: string, texts: readonly string[], vectors: readonly Float32Array[]): void {
    this.#entries.set(
      key,
      texts.flatMap((text, i) => {
        const vector = vectors[i];
        return vector === undefined ? [] : [{ text, ...quantise(vector) }];
      }),
    );
  }

  remove(key: string): void {
    this.#entries.delete(key);
  }

  search(query: Float32Array, admit: (key: string) => boolean, floor: number): SemanticHit[] {
    const { vector, norm } = quantise(query);
    const hits: SemanticHit[] = [];
    for (const [key, entries] of this.#entries) {
      if (!admit(key)) continue;
      let best: SemanticHit | undefined;
      for (const entry of entries) {
        const similarity = dot(vector, entry.vector) / (norm * entry.norm || 1);
        if (best === undefined || similarity > best.similarity) best = { key, similarity, text: entry.text };
      }
      if (best !== undefined && best.similarity >= floor) hits.push(best);
    }
    return hits.sort((x, y) => y.similarity - x.similarity || (x.key < y.key ? -1 : 1));
  }
}

function quantise(values: Float32Array): { vector: Int8Array; norm: number } {
  let largest = 1e-9;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  const vector = new Int8Array(values.length);
  for (let i = 0; i < values.length; i += 1) vector[i] = Math.round(((values[i] ?? 0) / largest) * 127);
  return { vector, norm: Math.sqrt(dot(vector, vector)) };
}

function dot(a: Int8Array, b: Int8Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}
