/** Defects that the simulator has to find. Each is a piece of the core's source and what is put in its place. */

export interface Mutant {
  readonly name: string;
  /** From the root of the repository. */
  readonly file: string;
  /** Occurs exactly once. */
  readonly find: string;
  readonly replace: string;
  /** A seed that kills it. */
  readonly seed: number;
  /** Names of the checkers that may notice. */
  readonly killedBy: readonly string[];
}

export const mutants: readonly Mutant[] = [];

export function findMutant(name: string): Mutant | undefined {
  return mutants.find((mutant) => mutant.name === name);
}
