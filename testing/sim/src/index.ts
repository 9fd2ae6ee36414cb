export { findMutant, type Mutant, mutants } from "./mutants.ts";
export { type Outcome, runSeed } from "./run.ts";
