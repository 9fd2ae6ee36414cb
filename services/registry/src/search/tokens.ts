/** Words of a text as index terms: lower case, accents folded, common words dropped, light English stemming, CJK bigrams. */

const word = /[\p{L}\p{N}]+/gu;
const cjk = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

const commonWords = new Set(
  (
    "a an and any are as at be by can could do does for from get give has have help how i if in into is it its let like make me my need of on one or " +
    "our please should so some somebody someone something that the their them there these they this those to us use using want was we what when where which who will with would you your agent agents"
  ).split(" "),
);

/** Index terms of `text` in order, repetitions kept. */
export function termsOf(text: string): string[] {
  const terms: string[] = [];
  for (const [match] of text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().matchAll(word)) {
    if (cjk.test(match)) terms.push(...bigrams(match));
    else if (!commonWords.has(match)) terms.push(stem(match));
  }
  return terms;
}

function bigrams(text: string): string[] {
  const characters = [...text];
  if (characters.length < 2) return characters;
  return characters.slice(1).map((character, i) => `${characters[i] ?? ""}${character}`);
}

/** Joins plural, -ing, -ed and -er forms. Deliberately coarse: both sides of a match go through it. */
function stem(term: string): string {
  if (term.length < 4 || /\d/.test(term)) return term;
  for (const suffix of ["ations", "ation", "ings", "ing", "ers", "ies", "ed", "er", "es", "s"]) {
    if (!term.endsWith(suffix) || term.length - suffix.length < 3) continue;
    const base = term.slice(0, -suffix.length);
    if (suffix === "s" && base.endsWith("s")) return term;
    return suffix === "ies" ? `${base}y` : base.replace(/([^aeiouls])\1$/, "$1").replace(/e$/, "");
  }
  return term.replace(/e$/, "");
}
