/** Runs one target on damaged input and finds what is not a typed refusal. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { isCausewayError } from "@causeway/core-base";
import { Dice, mutate } from "./mutate.ts";
import type { FuzzTarget } from "./targets.ts";

export interface FuzzFailure {
  readonly target: string;
  readonly input: Uint8Array;
  readonly thrown: unknown;
}

/** Inputs that once failed; they are tried first, for good. */
export function corpusOf(target: string): readonly Uint8Array[] {
  const folder = new URL(`../corpus/${target}/`, import.meta.url);
  return existsSync(folder)
    ? readdirSync(folder)
        .toSorted()
        .map((name) => new Uint8Array(readFileSync(new URL(name, folder))))
    : [];
}

/** Name of an input's file in the corpus. */
export function corpusName(input: Uint8Array): string {
  return `${createHash("sha256").update(input).digest("hex").slice(0, 16)}.bin`;
}

/** The seeds have to be accepted; then the corpus and `runs` damaged inputs. Stops at the first failure. */
export function fuzz(
  target: FuzzTarget,
  options: { readonly seed: number; readonly runs: number },
): FuzzFailure | undefined {
  const dice = new Dice(options.seed);
  for (const input of corpusOf(target.name)) {
    const failure = attempt(target, input);
    if (failure) return failure;
  }
  for (let run = 0; run < options.runs; run += 1) {
    const failure = attempt(target, mutate(dice, target.seeds));
    if (failure) return failure;
  }
  return undefined;
}

function attempt(target: FuzzTarget, input: Uint8Array): FuzzFailure | undefined {
  try {
    target.run(Uint8Array.from(input));
    return undefined;
  } catch (thrown) {
    if (isCausewayError(thrown) && thrown.code !== "CAUSEWAY_INTERNAL") return undefined;
    if (target.tolerates?.(thrown) === true) return undefined;
    return { target: target.name, input, thrown };
  }
}
