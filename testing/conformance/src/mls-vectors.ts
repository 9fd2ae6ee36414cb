/**
 * Runs MLS test vectors on the library with our fixes and our provider. The official ones are in the repository
 * mlswg/mls-implementations, directories `test-vectors` and `interop/passive`; without `--vectors` the few own ones of
 * this package run. Vectors of other suites than 1 and 3 are counted and not run: this network doesn't have them.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nodeCryptoProvider } from "@causeway/e2ee/provider";
import {
  type CiphersuiteImpl,
  type CiphersuiteName,
  ciphersuites,
  getCiphersuiteFromName,
} from "ts-mls/crypto/ciphersuite.js";
import * as primitives from "./mls-primitives.ts";
import * as scenarios from "./mls-scenarios.ts";
import { Vector } from "./vector.ts";

/** The vectors that come with this package. */
export const ownVectors: string = fileURLToPath(new URL("../vectors/mls", import.meta.url));

export interface FileResult {
  readonly file: string;
  readonly family: string;
  readonly passed: number;
  readonly failed: number;
  /** Of suites that are not ours. */
  readonly foreign: number;
  readonly failures: readonly string[];
}

interface Family {
  readonly name: string;
  /** Members that only vectors of this family have. */
  readonly members: readonly string[];
  readonly check: (vector: Vector, impl: CiphersuiteImpl) => Promise<void>;
}

const families: readonly Family[] = [
  { name: "deserialization", members: ["vlbytes_header"], check: primitives.checkDeserialization },
  { name: "tree math", members: ["n_leaves", "n_nodes"], check: primitives.checkTreeMath },
  { name: "crypto basics", members: ["ref_hash", "expand_with_label"], check: primitives.checkCryptoBasics },
  { name: "secret tree", members: ["sender_data", "leaves"], check: primitives.checkSecretTree },
  { name: "key schedule", members: ["initial_init_secret"], check: primitives.checkKeySchedule },
  { name: "psk secret", members: ["psks", "psk_secret"], check: primitives.checkPskSecret },
  { name: "transcript hashes", members: ["authenticated_content"], check: primitives.checkTranscriptHashes },
  { name: "messages", members: ["mls_welcome", "private_message"], check: primitives.checkMessages },
  { name: "message protection", members: ["membership_key", "proposal_priv"], check: scenarios.checkMessageProtection },
  { name: "welcome", members: ["signer_pub", "welcome"], check: scenarios.checkWelcome },
  { name: "tree operations", members: ["tree_before", "proposal"], check: scenarios.checkTreeOperations },
  { name: "tree validation", members: ["resolutions", "tree_hashes"], check: scenarios.checkTreeValidation },
  { name: "TreeKEM", members: ["leaves_private", "update_paths"], check: scenarios.checkTreeKem },
  { name: "passive client", members: ["initial_epoch_authenticator"], check: scenarios.checkPassiveClient },
];

/** Runs every JSON file of a directory. Throws for a file that is no list of vectors of a known family. */
export async function runMlsVectors(
  directory: string,
  onFile?: (result: FileResult) => void,
): Promise<readonly FileResult[]> {
  const results: FileResult[] = [];
  for (const file of readdirSync(directory)
    .filter((name) => name.endsWith(".json"))
    .sort()) {
    const vectors: unknown = JSON.parse(readFileSync(join(directory, file), "utf8"));
    if (!Array.isArray(vectors)) throw new Error(`${file}: expected a list of vectors`);
    const result = await runFile(file, vectors);
    results.push(result);
    onFile?.(result);
  }
  if (results.length === 0) throw new Error(`there is no JSON file in ${directory}`);
  return results;
}

async function runFile(file: string, values: readonly unknown[]): Promise<FileResult> {
  let [passed, foreign, family] = [0, 0, ""];
  const failures: string[] = [];
  for (const [i, value] of values.entries()) {
    const vector = new Vector(value, `${file}[${i}]`);
    const found = families.find((each) => vector.has(...each.members));
    if (found === undefined) throw new Error(`${file}[${i}]: vectors with ${vector.keys().join(", ")} are not known`);
    family = found.name;
    const impl = await implOf(vector);
    if (impl === undefined) {
      foreign++;
      continue;
    }
    try {
      await found.check(vector, impl);
      passed++;
    } catch (error) {
      failures.push(`${file}[${i}]: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { file, family, passed, failed: failures.length, foreign, failures };
}

/** Suite of a vector; suite 1 where it has none; undefined for a suite that is not ours. */
async function implOf(vector: Vector): Promise<CiphersuiteImpl | undefined> {
  const id = vector.has("cipher_suite") ? vector.number("cipher_suite") : 1;
  if (id !== 1 && id !== 3) return undefined;
  const name = (Object.keys(ciphersuites) as CiphersuiteName[]).find((each) => ciphersuites[each] === id);
  return name === undefined ? undefined : nodeCryptoProvider.getCiphersuiteImpl(getCiphersuiteFromName(name));
}

/** The command `conformance mls [--vectors DIR] [--json]`; gives the exit code. */
export async function mlsVectorsCommand(args: readonly string[]): Promise<number> {
  const at = args.indexOf("--vectors");
  const directory = at >= 0 ? args[at + 1] : ownVectors;
  if (directory === undefined) {
    process.stderr.write("expected a directory after --vectors\n");
    return 2;
  }
  const json = args.includes("--json");
  const results = await runMlsVectors(directory, (result) => {
    if (json) return;
    const foreign = result.foreign > 0 ? `, ${result.foreign} of other suites not run` : "";
    process.stdout.write(
      `${result.file} (${result.family}): ${result.passed} passed, ${result.failed} failed${foreign}\n`,
    );
    for (const failure of result.failures) process.stdout.write(`  ${failure}\n`);
  });
  const sum = (key: "passed" | "failed" | "foreign") => results.reduce((total, each) => total + each[key], 0);
  if (json)
    process.stdout.write(
      `${JSON.stringify({ ok: sum("failed") === 0, passed: sum("passed"), failed: sum("failed"), foreign: sum("foreign"), files: results })}\n`,
    );
  else process.stdout.write(`MLS vectors: ${sum("passed")} passed, ${sum("failed")} failed\n`);
  return sum("failed") === 0 ? 0 : 1;
}
