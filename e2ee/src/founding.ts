/** Beginning of groups: the group itself with one member, and checked key packages of those who are to join. */
import { randomBytes } from "node:crypto";
import { agentOf, CausewayError, instanceOf, isCausewayError, type SpiffeId } from "@causeway/core-base";
import type { Engine } from "./engine.ts";
import { Group } from "./group.ts";
import { clientConfig } from "./group-config.ts";
import { factsExtension, type GroupFacts } from "./group-facts.ts";
import { newKeyPackage } from "./key-packages.ts";
import { createGroup, type KeyPackage } from "./library.ts";
import type { MlsSuite } from "./ports.ts";
import { suiteImpl } from "./suites.ts";

/** Key packages that are tried before an agent counts as unreachable. */
const packageAttemptsMax = 3;
const groupIdBytes = 16;

/** A group in which this agent is alone. It is not stored yet. */
export async function foundGroup(engine: Engine, facts: GroupFacts, suite: MlsSuite): Promise<Group> {
  const impl = await suiteImpl(suite);
  const { publicPackage, privatePackage } = await newKeyPackage(engine.identity(), suite, false);
  const id = new Uint8Array(randomBytes(groupIdBytes));
  const config = clientConfig(engine.judge);
  const state = await createGroup(id, publicPackage, privatePackage, [factsExtension(facts)], impl, config);
  const now = engine.now();
  const confirmed = facts.kind === "topic";
  const history = { epochSince: now, ownSince: now, sentBefore: 0, confirmed, welcome: undefined };
  return Group.open({ state, history, impl, judge: engine.judge, self: engine.self });
}

/** A key package that can be used, and the instance whose it is, when that is known. */
export interface UsablePackage {
  readonly keyPackage: KeyPackage;
  readonly instance: string | undefined;
}

/** Fetches and judges a key package. Packages that cannot be used are reported and another one is asked for. */
export async function fetchKeyPackage(engine: Engine, target: SpiffeId, suite: MlsSuite): Promise<UsablePackage> {
  const agent = agentOf(target);
  let last: unknown;
  for (let attempt = 0; attempt < packageAttemptsMax; attempt++) {
    const fetched = await engine.options.delivery.fetchKeyPackage(target, suite);
    try {
      const keyPackage = await engine.shelf.check(fetched, agent, suite, engine.now());
      return { keyPackage, instance: instanceOf(fetched.owner ?? target) ?? instanceOf(target) };
    } catch (error) {
      last = error;
      const { code, message } = CausewayError.from(error);
      engine.report({ type: "key_package.refused", peer: agent, code, text: message });
      if (!isCausewayError(error) || error.code !== "CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED") break;
    }
  }
  throw last;
}
