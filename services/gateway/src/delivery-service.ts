/**
 * The delivery service of RFC 9750 for the agents that this gateway serves: their key packages and the order of the
 * commits of the groups that they own.
 */
import type { AgentId, UnixMs } from "@causeway/core-base";
import type { agp } from "@causeway/core-wire";
import { CommitLog } from "./commit-log.ts";
import { KeyPackages, type PackageOwner } from "./key-packages.ts";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";

/** A request that was routed here. */
type Request = NonNullable<agp.Control["body"]>;

/** Serves key packages and commit order. */
export class DeliveryService {
  readonly #packages: KeyPackages;
  readonly #commits: CommitLog;

  constructor(deps: GatewayDeps, limits: GatewayLimits) {
    this.#packages = new KeyPackages(deps, limits);
    this.#commits = new CommitLog(deps, limits);
  }

  /** Stores packages of the attached agent. The answer goes out after they are on the disk. */
  upload(agentId: AgentId, instance: string, upload: agp.KeyPackageUpload): agp.KeyPackageUploadResult {
    return this.#packages.upload(agentId, instance, upload);
  }

  /** Drops the packages of all instances of an agent (revocation, deregistration). */
  drop(agentId: AgentId): void {
    this.#packages.drop(agentId);
  }

  /** Answers a request of `source` for `owner`; undefined for a body that is not for the delivery service. */
  answer(owner: PackageOwner, source: AgentId, body: Request): agp.Control["body"] | undefined {
    switch (body.case) {
      case "keyPackageFetch":
        return { case: "keyPackageResult", value: this.#packages.fetch(owner, source, body.value) };
      case "commitSubmit":
        return { case: "commitResult", value: this.#commits.submit(owner.agentId, source, body.value) };
      case "handshakeFetch":
        return { case: "handshakeResult", value: this.#commits.fetch(owner.agentId, source, body.value) };
      default:
        return undefined;
    }
  }

  /** Forgets what is too old: groups that nobody commits to any more. */
  prune(now: UnixMs): void {
    this.#commits.prune(now);
  }
}
