/** Puts one defect into a source file of the core while it is loaded, so that the core needs no switches for it. */
import { registerHooks } from "node:module";
import type { Mutant } from "./mutants.ts";

/** To be called before anything of the core is imported. */
export function installMutant(mutant: Mutant): void {
  const root = new URL("../../../", import.meta.url);
  const target = new URL(mutant.file, root).href;
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (url !== target) return loaded;
      const source =
        typeof loaded.source === "string" ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString("utf8");
      return { ...loaded, source: applyMutant(mutant, source) };
    },
  });
}

/** The source with the defect. Throws when the text to replace is not there exactly once: then the mutant is stale. */
export function applyMutant({ name, file, find, replace }: Mutant, source: string): string {
  const count = source.split(find).length - 1;
  if (count !== 1)
    throw new Error(
      `mutant ${JSON.stringify(name)}: expected its text once in ${file}, found it ${count} times; bring it up to date`,
    );
  return source.replace(find, () => replace);
}
