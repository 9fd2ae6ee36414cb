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
/** The instance of agents that do not name theirs. */
const defaultInstance = "main";
/** Agents whose named instances are remembered. */
const namedMax = 100_000;

/** Whose package is asked for. */
export interface PackageOwner {
  readonly agentId: AgentId;
  /** The instance that messages of the asker go to; undefined while none is attached. */
  readonly instance: string | undefined;
  /** True while several instances are attached: the answer then names the one whose package it is. */
  readonly isOneOfSeveral: boolean;
}

/** The packages of every agent, those of each of its instances apart: only who made a package can open what it is for. */
export class KeyPackages {
  readonly #deps: GatewayDeps;
  readonly #limits: GatewayLimits;
  readonly #fetches: CallerRates;
  readonly #outside: CallerRates;
  /** Instances beside the default one that have uploaded since the start. Bounded, oldest first. */
  readonly #named = new Map<AgentId, Set<string>>();

  constructor(deps: GatewayDeps, limits: GatewayLimits) {
    this.#deps = deps;
    this.#limits = limits;
    this.#fetches = new CallerRates("keyPackageFetchesPerMinute", () => limits.keyPackageFetchesPerMinute, minuteMs);
    this.#outside = new CallerRates("outsideFetchesPerMinute", () => limits.outsideFetchesPerMinute, minuteMs);
  }

  /** Stores packages of their owner. All that is held for an agent is of one suite: others go when a new one comes. */
  upload(agentId: AgentId, instance: string, upload: agp.KeyPackageUpload): agp.KeyPackageUploadResult {
    const holder = holderOf(agentId, instance);
    if (holder !== agentId) this.#note(agentId, instance);
    const { request, replace, keyPackages } = upload;
    const { store } = this.#deps;
    try {
      const suite = suiteOfUpload(upload);
      const isOther = suite !== undefined && this.#heldSuite(holder) !== suite;
      const lastResort = upload.lastResort.length > 0 ? upload.lastResort : undefined;
      const stored = store.atomically(() => {
        if (replace || isOther) store.dropKeyPackages(holder);
        return store.addKeyPackages(holder, keyPackages, lastResort, this.#limits.keyPackagesMax);
      });
      return create(agp.KeyPackageUploadResultSchema, { request, stored });
    } catch (error) {
      return create(agp.KeyPackageUploadResultSchema, { request, error: toErrorDetail(CausewayError.from(error)) });
    }
  }

  /** Drops what is held for an agent. */
  drop(agentId: AgentId): void {
    for (const holder of this.#holdersOf(agentId)) this.#deps.store.dropKeyPackages(holder);
  }

  /** Hands a package out, or only says whose it would be. A refused fetch uses none up. */
  fetch(of: PackageOwner, source: AgentId, wanted: agp.KeyPackageFetch): agp.KeyPackageResult {
    const { store, scheduler } = this.#deps;
    const { agentId, instance, isOneOfSeveral } = of;
    try {
      const { instant } = scheduler.now();
      this.#fetches.check(source, instant);
      const domain = domainOf(source);
      if (domain !== domainOf(agentId)) this.#outside.check(`${domain} for ${agentId}`, instant);
      // Who is away may come back as any of its instances.
      const holder =
        instance === undefined
          ? (this.#holdersOf(agentId).find((each) => store.keyPackageCount(each) > 0) ?? agentId)
          : holderOf(agentId, instance);
      const owner = isOneOfSeveral && instance !== undefined ? `${agentId}/@${instance}` : holder;
      if (wanted.nameOnly) return create(agp.KeyPackageResultSchema, { owner });
      // What is thrown in here puts the package back.
      const { keyPackage, lastResort } = store.atomically(() => {
        const taken = store.takeKeyPackage(holder);
        if (taken === undefined) {
          throw refuse(
            "CAUSEWAY_E2EE_NO_KEY_PACKAGE",
            `${agentId} has no key package left here; it uploads new ones when it attaches`,
          );
        }
        const suite = suiteOf(taken.keyPackage);
        if (wanted.suite !== 0 && wanted.suite !== suite) {
          throw refuse(
            "CAUSEWAY_E2EE_SUITE_MISMATCH",
            `expected key packages of ${agentId} for MLS suite ${wanted.suite}, it has them for suite ${suite}`,
            { details: { suite: String(suite) } },
          );
        }
        return taken;
      });
      return create(agp.KeyPackageResultSchema, { keyPackage, lastResort, owner });
    } catch (error) {
      return create(agp.KeyPackageResultSchema, { error: toErrorDetail(CausewayError.from(error)) });
    }
  }

  #holdersOf(agentId: AgentId): readonly AgentId[] {
    return [agentId, ...[...(this.#named.get(agentId) ?? [])].map((instance) => holderOf(agentId, instance))];
  }

  #note(agentId: AgentId, instance: string): void {
    const named = this.#named.get(agentId) ?? new Set();
    this.#named.delete(agentId);
    this.#named.set(agentId, named.add(instance));
    const oldest = this.#named.keys().next();
    if (this.#named.size > namedMax && !oldest.done) this.#named.delete(oldest.value);
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

/** Under which name the packages of an instance are stored: the default one's under the agent's. */
function holderOf(agentId: AgentId, instance: string): AgentId {
  return instance === defaultInstance ? agentId : (`${agentId}/@${instance}` as AgentId);
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
