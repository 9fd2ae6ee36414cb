/**
 * The order of the commits of groups whose owners this gateway serves (AGP-60, AGP-45): the first commit of an epoch
 * wins. A log belongs to (owner, group id), so that nobody gets at the group of another owner by naming its id. Who is a
 * member only members know; what a stranger may do here is bounded instead: only commits of the group and epoch that
 * they are submitted for count, each agent opens and fills a bounded number of logs, and idle ones go.
 */
import { create } from "@bufbuild/protobuf";
import { type AgentId, asUnixMs, CausewayError, refuse, type UnixMs } from "@causeway/core-base";
import { equalBytes } from "@causeway/core-records";
import { agp, checkMlsPayload, toErrorDetail } from "@causeway/core-wire";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";
import { CallerRates } from "./token-bucket.ts";

const commitBytesMax = 1_048_576;
const groupIdBytesMax = 64;
/** Commits and their bytes in one answer. */
const commitsPerAnswerMax = 100;
const answerBytesMax = 2_097_152;
const minuteMs = 60_000;

/** Orders commits. */
export class CommitLog {
  readonly #deps: GatewayDeps;
  readonly #limits: GatewayLimits;
  readonly #commits: CallerRates;
  readonly #bytes: CallerRates;
  readonly #opened: CallerRates;
  readonly #fetches: CallerRates;

  constructor(deps: GatewayDeps, limits: GatewayLimits) {
    this.#deps = deps;
    this.#limits = limits;
    this.#commits = new CallerRates("commitsPerMinute", () => limits.commitsPerMinute, minuteMs);
    this.#bytes = new CallerRates("commitBytesPerMinute", () => limits.commitBytesPerMinute, minuteMs);
    this.#opened = new CallerRates("groupsOpenedPerHour", () => limits.groupsOpenedPerHour, 60 * minuteMs);
    this.#fetches = new CallerRates("commitsPerMinute", () => limits.commitsPerMinute, minuteMs);
  }

  /** Takes a commit or says which one won. */
  submit(owner: AgentId, source: AgentId, { groupId, epoch, commit }: agp.CommitSubmit): agp.CommitResult {
    const { store, scheduler } = this.#deps;
    const now = scheduler.now();
    try {
      this.#commits.check(source, now.instant);
      checkGroupId(groupId);
      checkCommit(groupId, epoch, commit);
      this.#bytes.check(source, now.instant, commit.length);
      const log = this.#logOf(owner, groupId);
      if (this.#isNew(log)) this.#opened.check(source, now.instant);
      const outcome = store.submitCommit(log, epoch, commit, now.unix, this.#limits.commitsPerGroupMax);
      if (outcome.accepted) return create(agp.CommitResultSchema, { accepted: true });
      const stale = refuse(
        "CAUSEWAY_E2EE_STALE_EPOCH",
        `the next commit of this group starts from epoch ${outcome.nextEpoch}, got ${epoch}`,
        { details: { nextEpoch: String(outcome.nextEpoch) } },
      );
      return create(agp.CommitResultSchema, {
        accepted: false,
        winner: outcome.winner ?? new Uint8Array(),
        error: toErrorDetail(stale),
      });
    } catch (error) {
      return create(agp.CommitResultSchema, { accepted: false, error: toErrorDetail(CausewayError.from(error)) });
    }
  }

  /** Commits in order, from an epoch on. */
  fetch(owner: AgentId, source: AgentId, { groupId, fromEpoch }: agp.HandshakeFetch): agp.HandshakeResult {
    const { store, scheduler } = this.#deps;
    try {
      this.#fetches.check(source, scheduler.now().instant);
      checkGroupId(groupId);
      const commits = store.commits(this.#logOf(owner, groupId), fromEpoch, commitsPerAnswerMax);
      if (commits === undefined) {
        throw refuse(
          "CAUSEWAY_E2EE_STALE_EPOCH",
          `commits from epoch ${fromEpoch} on are no longer kept; join the group anew`,
        );
      }
      return create(agp.HandshakeResultSchema, { commits: withinBytes(commits) });
    } catch (error) {
      return create(agp.HandshakeResultSchema, { error: toErrorDetail(CausewayError.from(error)) });
    }
  }

  /** Forgets groups that nobody commits to any more. */
  prune(now: UnixMs): void {
    this.#deps.store.pruneGroups(asUnixMs(now - this.#limits.groupIdleMs));
  }

  /** A log that exists has at least one commit: asked from the beginning it answers with it, or that it was dropped. */
  #isNew(log: Uint8Array): boolean {
    return this.#deps.store.commits(log, 0n, 1)?.length === 0;
  }

  #logOf(owner: AgentId, groupId: Uint8Array): Uint8Array {
    const name = new TextEncoder().encode(`${owner}\0`);
    const key = new Uint8Array(name.length + groupId.length);
    key.set(name);
    key.set(groupId, name.length);
    return this.#deps.crypto.sha256(key);
  }
}

function checkGroupId(groupId: Uint8Array): void {
  if (groupId.length > 0 && groupId.length <= groupIdBytesMax) return;
  throw refuse(
    "CAUSEWAY_HEADER_INVALID",
    `expected a group id of 1 to ${groupIdBytesMax} bytes, got ${groupId.length}`,
  );
}

/** What the public framing shows has to be what the log is asked for. */
function checkCommit(groupId: Uint8Array, epoch: bigint, commit: Uint8Array): void {
  if (commit.length > commitBytesMax) {
    throw refuse("CAUSEWAY_LIMIT_COUNT", `expected a commit of at most ${commitBytesMax} bytes, got ${commit.length}`);
  }
  const framed = checkMlsPayload(commit);
  if (framed.wireFormat !== "private_message" || framed.contentType !== "commit") {
    throw refuse("CAUSEWAY_PAYLOAD_NOT_MLS", "expected a PrivateMessage that holds a commit, got something else");
  }
  if (framed.epoch === epoch && equalBytes(framed.groupId, groupId)) return;
  throw refuse(
    "CAUSEWAY_HEADER_INVALID",
    `expected a commit of the group and epoch ${epoch} that it is submitted for, got one of epoch ${framed.epoch}`,
  );
}

/** As many commits as one answer may carry, at least one. */
function withinBytes(commits: readonly Uint8Array[]): Uint8Array[] {
  const out: Uint8Array[] = [];
  let bytes = 0;
  for (const commit of commits) {
    bytes += commit.length;
    if (out.length > 0 && bytes > answerBytesMax) break;
    out.push(commit);
  }
  return out;
}
