/** The two MLS suites of this network and what an endpoint says it can do. There is no other scheme (AGP-53). */
import { refuse } from "@causeway/core-base";
import { factsExtensionType } from "./group-facts.ts";
import { type Capabilities, type CiphersuiteImpl, type CiphersuiteName, getCiphersuiteFromName } from "./library.ts";
import { nodeCryptoProvider } from "./node-crypto-provider.ts";
import type { MlsSuite } from "./ports.ts";

const names = {
  1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
  3: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
} as const satisfies Record<MlsSuite, CiphersuiteName>;

/** Every suite, the mandatory one first. */
export const suites: readonly MlsSuite[] = [1, 3];

const made = new Map<MlsSuite, Promise<CiphersuiteImpl>>();

export function suiteImpl(suite: MlsSuite): Promise<CiphersuiteImpl> {
  let impl = made.get(suite);
  if (impl === undefined) {
    impl = nodeCryptoProvider.getCiphersuiteImpl(getCiphersuiteFromName(names[suite]));
    made.set(suite, impl);
  }
  return impl;
}

/** The number of a suite. Throws `CAUSEWAY_UNSUPPORTED` for a suite that this network does not use. */
export function suiteOf(name: string): MlsSuite {
  for (const suite of suites) if (names[suite] === name) return suite;
  throw refuse("CAUSEWAY_UNSUPPORTED", `expected MLS suite 1 or 3, got ${name}`);
}

/** What the leaves of our members announce. */
export function capabilities(): Capabilities {
  return {
    versions: ["mls10"],
    ciphersuites: suites.map((suite) => names[suite]),
    extensions: [factsExtensionType],
    proposals: [],
    credentials: ["x509"],
  };
}
