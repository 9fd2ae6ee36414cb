/** Feature names with versions, exchanged at attachment and signed in its transcript (AAP-3, AGP-54). */

/** What this version speaks. */
export const defaultFeatures: readonly string[] = ["agp/1", "mls/1", "topics/1"];
/** Never negotiable away. */
export const securityFeatures: readonly string[] = ["mls/1"];

/** Sorted set that both sides have. */
export function negotiate(own: readonly string[], theirs: readonly string[]): readonly string[] {
  const other = new Set(theirs);
  return [...new Set(own)].filter((f) => other.has(f)).sort();
}
