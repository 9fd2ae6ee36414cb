/**
 * The delivery service of RFC 9750 for the agents that this gateway serves: it stores their key packages and hands each
 * out once, and it orders the commits of the groups that they own. Contents stay opaque bytes.
 */
import { create } from "@bufbuild/protobuf";
import {
  type AgentId,
  asUnixMs,
  CausewayError,
  type GatewayStore,
  refuse,
  type Scheduler,
  type UnixMs,
} from "@causeway/core-base";
import { agp, toErrorDetail } from "@causeway/core-wire";
import type { GatewayLimits } from "./ports.ts";
import { CallerRates } from "./token-bucket.ts";

/** Bytes of one key package or commit. */
const handshakeBytesMax = 1_048_576;
const uploadPackagesMax = 100;
const groupIdBytesMax = 64;
/** Commits and their bytes in one answer. */
const commitsPerAnswerMax = 100;
const answerBytesMax = 2_097_152;
/** Key packages that one agent may fetch each minute: a fetch uses one up (RFC 9750 section 5.1). */
const fetchesPerMinute = 600;

/** A request that was routed here. */
type Request = NonNullable<agp.Control["body"]>;
type Answer = agp.Control["body"];

/** Serves key packages and commit order. */
export class DeliveryService {
  readonly #store: GatewayStore;
  readonly #scheduler: Scheduler;
  readonly #limits: GatewayLimits;
  readonly #rates = new CallerRates("keyPackageFetchesPerMinute", fetchesPerMinute);

  constructor(store: GatewayStore, scheduler: Scheduler, limits: GatewayLimits) {
    this.#store = store;
    this.#scheduler = scheduler;
    this.#limits = limits;
  }

  /** Stores packages of the attached agent. The answer goes out after they are on the disk. */
  upload(agentId: AgentId, upload: agp.KeyPackageUpload): agp.KeyPackageUploadResult {
    const { request } = upload;
    try {
      const all = upload.lastResort.length > 0 ? [...upload.keyPackages, upload.lastResort] : upload.keyPackages;
      if (
        upload.keyPackages.length > uploadPackagesMax ||
        all.some((each) => each.length === 0 || each.length > handshakeBytesMax)
      ) {
        throw refuse(
          "CAUSEWAY_LIMIT_COUNT",
          `expected at most ${uploadPackagesMax} key packages of 1 to ${handshakeBytesMax} bytes, got ${upload.keyPackages.length}`,
        );
      }
      const lastResort = upload.lastResort.length > 0 ? upload.lastResort : undefined;
      if (upload.replace) this.#store.dropKeyPackages(agentId);
      const stored = this.#store.addKeyPackages(agentId, upload.keyPackages, lastResort, this.#limits.keyPackagesMax);
      return create(agp.KeyPackageUploadResultSchema, { request, stored });
    } catch (error) {
      return create(agp.KeyPackageUploadResultSchema, { request, error: toErrorDetail(CausewayError.from(error)) });
    }
  }

  /** Answers a request for `owner`; undefined for a body that is not for the delivery service. */
  answer(owner: AgentId, source: string, body: Request): Answer | undefined {
    switch (body.case) {
      case "keyPackageFetch":
        return { case: "keyPackageResult", value: this.#fetchKeyPackage(owner, source) };
      case "commitSubmit":
        return { case: "commitResult", value: this.#submitCommit(body.value) };
      case "handshakeFetch":
        return { case: "handshakeResult", value: this.#fetchCommits(body.value) };
      default:
        return undefined;
    }
  }

  /** Forgets what is too old: groups that nobody commits to any more. */
  prune(now: UnixMs): void {
    this.#store.pruneGroups(asUnixMs(now - this.#limits.groupIdleMs));
  }

  #fetchKeyPackage(owner: AgentId, source: string): agp.KeyPackageResult {
    try {
      this.#rates.check(source, this.#scheduler.now().instant);
      const taken = this.#store.takeKeyPackage(owner);
      if (taken === undefined) {
        throw refuse(
          "CAUSEWAY_E2EE_NO_KEY_PACKAGE",
          `${owner} has no key package left here; it uploads new ones when it attaches`,
        );
      }
      return create(agp.KeyPackageResultSchema, { keyPackage: taken.keyPackage, lastResort: taken.lastResort });
    } catch (error) {
      return create(agp.KeyPackageResultSchema, { error: toErrorDetail(CausewayError.from(error)) });
    }
  }

  #submitCommit(submit: agp.CommitSubmit): agp.CommitResult {
    try {
      checkGroupId(submit.groupId);
      if (submit.commit.length === 0 || submit.commit.length > handshakeBytesMax) {
        throw refuse(
          "CAUSEWAY_LIMIT_COUNT",
          `expected a commit of 1 to ${handshakeBytesMax} bytes, got ${submit.commit.length}`,
        );
      }
      const at = this.#scheduler.now().unix;
      const outcome = this.#store.submitCommit(
        submit.groupId,
        submit.epoch,
        submit.commit,
        at,
        this.#limits.commitsPerGroupMax,
      );
      if (outcome.accepted) return create(agp.CommitResultSchema, { accepted: true });
      const stale = refuse(
        "CAUSEWAY_E2EE_STALE_EPOCH",
        `the next commit of this group starts from epoch ${outcome.nextEpoch}, got ${submit.epoch}`,
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

  #fetchCommits(fetch: agp.HandshakeFetch): agp.HandshakeResult {
    try {
      checkGroupId(fetch.groupId);
      const commits = this.#store.commits(fetch.groupId, fetch.fromEpoch, commitsPerAnswerMax);
      if (commits === undefined) {
        throw refuse(
          "CAUSEWAY_E2EE_STALE_EPOCH",
          `commits from epoch ${fetch.fromEpoch} on are no longer kept; join the group anew`,
        );
      }
      return create(agp.HandshakeResultSchema, { commits: withinBytes(commits) });
    } catch (error) {
      return create(agp.HandshakeResultSchema, { error: toErrorDetail(CausewayError.from(error)) });
    }
  }
}

function checkGroupId(groupId: Uint8Array): void {
  if (groupId.length === 0 || groupId.length > groupIdBytesMax) {
    throw refuse(
      "CAUSEWAY_HEADER_INVALID",
      `expected a group id of 1 to ${groupIdBytesMax} bytes, got ${groupId.length}`,
    );
  }
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
