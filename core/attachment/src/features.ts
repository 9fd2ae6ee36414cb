/** Feature names with versions, exchanged at attachment and signed in its transcript (AAP-3, AGP-54). */

/** What this version speaks. */
export const defaultFeatures: readonly string[] = ["agp/1", "mls/1", "topics/1"];
/** The agent acknowledges stored messages with MailboxAck. Not a default: an agent that has it must do so. */
export const mailboxFeature = "mailbox/1";
/** Never negotiable away: without them there is no attachment. */
export const securityFeatures: readonly string[] = ["mls/1"];
/** Longest list that is read. */
export const featuresMax = 64;

const featurePattern = /^[a-z0-9-]{1,48}\/[0-9]{1,4}$/;

/** Sorted set of what both sides have. */
export function negotiate(own: readonly string[], theirs: readonly string[]): readonly string[] {
  const other = new Set(theirs);
  const both = [...new Set(own)].filter((feature) => other.has(feature)).sort();
  // Ten thousand attachments have the same few lists: one copy of each.
  const name = both.join();
  const known = lists.get(name);
  if (known !== undefined) return known;
  if (lists.size < listsMax) lists.set(name, both);
  return both;
}

const lists = new Map<string, readonly string[]>();
const listsMax = 64;

/** True for a list of well-formed feature names within the bound. */
export function isFeatureList(features: readonly string[]): boolean {
  return features.length <= featuresMax && features.every((feature) => featurePattern.test(feature));
}

/** Features of `needed` that `features` lacks. */
export function missingFeatures(features: readonly string[], needed: readonly string[]): readonly string[] {
  return needed.filter((feature) => !features.includes(feature));
}
