/**
 * Key packages of the agents that this gateway serves, each handed out once (AGP-60, RFC 9750 section 5.1). Of their
 * contents the gateway reads version and suite, so that nobody uses up a package that it cannot use; it judges nothing
 * else, since whoever fetches one does.
 */
import { create } from "@bufbuild/protobuf";
import { type AgentId, CausewayError, domainOf, refuse } from "@causeway/core-base";
import { agp, toErrorDetail } from "@causeway/core-wire";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";
import { CallerRates } from "./token-bucket.ts";

const packageBytesMax = 1_048_576;
const uploadPackagesMax = 100;
const minuteMs = 60_000;
/**
 * Packages of one agent that all agents of one other domain together get in a minute: a domain certifies as many agents
 * as it likes, and must not use up the packages of ours.
 */
const outsideFetchesPerMinute = 120;

/** The packages of every agent. */
export class KeyPackages {
  readonly #deps: GatewayDeps;
  readonly #limits: GatewayLimits;
  readonly #fetches: CallerRates;
  readonly #outside = new CallerRates("outsideFetchesPerMinute", outsideFetchesPerMinute, minuteMs);

  constructor(deps: GatewayDeps, limits: GatewayLimits) {
    this.#deps = deps;
    this.#limits = limits;
    this.#fetches = new CallerRates("keyPackageFetchesPerMinute", limits.keyPackageFetchesPerMinute, minuteMs);
  }

  /** Stores packages of their owner. All that is held for an agent is of one suite: others go when a new one comes. */
  upload(agentId: AgentId, upload: agp.KeyPackageUpload): agp.KeyPackageUploadResult {
    const { request, replace, keyPackages } = upload;
    const { store } = this.#deps;
    try {
      const suite = suiteOfUpload(upload);
      const isOther = suite !== undefined && this.#heldSuite(agentId) !== suite;
      const lastResort = upload.lastResort.length > 0 ? upload.lastResort : undefined;
      const stored = store.atomically(() => {
        if (replace || isOther) store.dropKeyPackages(agentId);
        return store.addKeyPackages(agentId, keyPackages, lastResort, this.#limits.keyPackagesMax);
      });
      return create(agp.KeyPackageUploadResultSchema, { request, stored });
    } catch (error) {
      return create(agp.KeyPackageUploadResultSchema, { request, error: toErrorDetail(CausewayError.from(error)) });
    }
  }

  /** Hands a package out. A refused fetch uses none up. */
  fetch(owner: AgentId, source: AgentId, wanted: agp.KeyPackageFetch): agp.KeyPackageResult {
    const { store, scheduler } = this.#deps;
    try {
      const { instant } = scheduler.now();
      this.#fetches.check(source, instant);
      const domain = domainOf(source);
      if (domain !== domainOf(owner)) this.#outside.check(`${domain} for ${owner}`, instant);
      // What is thrown in here puts the package back.
      const { keyPackage, lastResort } = store.atomically(() => {
        const taken = store.takeKeyPackage(owner);
        if (taken === undefined) {
          throw refuse(
            "CAUSEWAY_E2EE_NO_KEY_PACKAGE",
            `${owner} has no key package left here; it uploads new ones when it attaches`,
          );
        }
        const suite = suiteOf(taken.keyPackage);
        if (wanted.suite !== 0 && wanted.suite !== suite) {
          throw refuse(
            "CAUSEWAY_E2EE_SUITE_MISMATCH",
            `expected key packages of ${owner} for MLS suite ${wanted.suite}, it has them for suite ${suite}`,
            { details: { suite: String(suite) } },
          );
        }
        return taken;
      });
      return create(agp.KeyPackageResultSchema, { keyPackage, lastResort });
    } catch (error) {
      return create(agp.KeyPackageResultSchema, { error: toErrorDetail(CausewayError.from(error)) });
    }
  }

  /** Suite of what is held. Nothing is taken: the transaction is given up. */
  #heldSuite(agentId: AgentId): number | undefined {
    const { store } = this.#deps;
    const givenUp = new Error("given up on purpose");
    let next: Uint8Array | undefined;
    try {
      store.atomically(() => {
        next = store.takeKeyPackage(agentId)?.keyPackage;
        throw givenUp;
      });
    } catch (error) {
      if (error !== givenUp) throw error;
    }
    return next && suiteOf(next);
  }
}

/** The one suite of an upload; undefined for an empty one. */
function suiteOfUpload(upload: agp.KeyPackageUpload): number | undefined {
  const count = upload.keyPackages.length;
  const all = upload.lastResort.length > 0 ? [...upload.keyPackages, upload.lastResort] : upload.keyPackages;
  if (count > uploadPackagesMax || all.some((each) => each.length > packageBytesMax)) {
    throw refuse(
      "CAUSEWAY_LIMIT_COUNT",
      `expected at most ${uploadPackagesMax} key packages of at most ${packageBytesMax} bytes, got ${count}`,
    );
  }
  const suites = new Set(all.map((each) => suiteOf(each)));
  if (suites.has(undefined)) {
    throw refuse("CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED", "expected KeyPackages of version mls10, got other bytes");
  }
  if (suites.size > 1) {
    throw refuse(
      "CAUSEWAY_E2EE_SUITE_MISMATCH",
      `expected key packages of one MLS suite, got some of ${[...suites].join(" and ")}; upload those of the one in use`,
    );
  }
  const [suite] = suites;
  return suite;
}

/** struct { ProtocolVersion version = mls10; CipherSuite cipher_suite; … } KeyPackage (RFC 9420 section 10). */
function suiteOf(keyPackage: Uint8Array): number | undefined {
  const [high, low, first, second] = keyPackage;
  if (high !== 0 || low !== 1 || first === undefined || second === undefined) return undefined;
  return first * 256 + second;
}
