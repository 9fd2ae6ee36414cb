/** What the parts of the end-to-end layer share. */
import type { AgentId, UnixMs } from "@causeway/core-base";
import type { EndToEndOptions } from "./api.ts";
import type { Committer } from "./committer.ts";
import type { CredentialJudge } from "./credentials.ts";
import type { Group } from "./group.ts";
import type { GroupBook, Report } from "./group-book.ts";
import type { KeyPackages } from "./key-packages.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import type { MlsSuite } from "./ports.ts";
import type { SigningIdentity } from "./signing-identity.ts";

export interface Engine {
  readonly options: EndToEndOptions;
  readonly self: AgentId;
  readonly suite: MlsSuite;
  readonly judge: CredentialJudge;
  readonly book: GroupBook;
  readonly shelf: KeyPackages;
  readonly committer: Committer;
  readonly queue: KeyedQueue;
  readonly report: Report;
  /** The certified key of today; changes with `rotate`. */
  readonly identity: () => SigningIdentity;
  readonly now: () => UnixMs;
}

/** Serves a task of a group after the ones that came before it. */
export function inGroup<T>(engine: Engine, group: Group, task: () => Promise<T> | T): Promise<T> {
  return engine.queue.run(`group ${group.id}`, async () => task());
}

/** True when somebody orders the commits of a group: always, but for a pair whose messages pass no gateway. */
export function isOrdered({ options }: Engine, { peer }: Group): boolean {
  return peer === undefined || (options.delivery.isOrdered?.(peer) ?? true);
}
