/** The registration server of one domain (ARS): who is registered, and who can be found. */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type AgentId,
  type AnyLimitTable,
  asUnixMs,
  type CallTally,
  callServiceText,
  type Domain,
  type LiveLimits,
  type Log,
  later,
  type ProcessUsage,
  type RegistryStore,
  refuse,
  type Scheduler,
  type StoredRegistration,
  type UnixMs,
} from "@causeway/core-base";
import {
  type CryptoPort,
  requireMetricsReaderOf,
  type Signer,
  type TrustStore,
  type VerifiedPeer,
} from "@causeway/core-identity";
import {
  compareRevisions,
  createRecordVerifier,
  equalBytes,
  parseStoredRecord,
  type RecordVerifier,
  signReceipt,
  trustedSignatures,
} from "@causeway/core-records";
import { ars, record as wire } from "@causeway/core-wire";
import { CallLimit } from "./call-limit.ts";
import { Catalogue } from "./catalogue.ts";
import { type Asker, askerOf, type RemoteGateway } from "./disclosure.ts";
import type { FollowedRecord } from "./follow.ts";
import { createRegistryLimits, type RegistryLimits } from "./limits.ts";
import type { RegistryTableSizes } from "./metrics.ts";
import type { Embedder } from "./search/semantic.ts";

/** Configuration of a registry. */
export interface RegistryConfig extends Partial<RegistryLimits> {
  readonly domain: Domain;
  /** What agents are told of the place of agents of other domains. Default `own`. */
  readonly remoteGateway?: RemoteGateway;
}

/** What a registry needs of the world. */
export interface RegistryDeps {
  readonly store: RegistryStore;
  readonly trust: TrustStore;
  readonly crypto: CryptoPort;
  readonly scheduler: Scheduler;
  readonly log: Log;
  /** Record-signing key of the registry's certificate, read anew each time. */
  readonly signer: () => Signer;
  readonly embedder?: Embedder;
  /** What the process uses now, for metrics. Default: not told. */
  readonly processUsage?: () => ProcessUsage;
  /** Limits of what carries it, listed beside its own and configured in the same place. */
  readonly limitsBeside?: AnyLimitTable;
}

const day = 86_400_000;

export class Registry {
  readonly #domain: Domain;
  readonly #remoteGateway: RemoteGateway;
  readonly #limits: RegistryLimits;
  /** The same for operators. */
  readonly limits: LiveLimits<RegistryLimits>;
  readonly #deps: RegistryDeps;
  readonly #verifier: RecordVerifier;
  readonly #catalogue: Catalogue;
  readonly #queries: CallLimit;
  readonly #registrations: CallLimit;
  readonly #followed = new Map<AgentId, FollowedRecord>();
  readonly #startedUnixMs: number;
  #registered = 0;
  #cancelPrune: (() => void) | undefined;

  constructor(config: RegistryConfig, deps: RegistryDeps) {
    const { domain, remoteGateway = "own", ...configured } = config;
    this.#domain = domain;
    this.#remoteGateway = remoteGateway;
    this.limits = createRegistryLimits(configured, deps.limitsBeside);
    this.#limits = this.limits.values;
    this.#deps = deps;
    this.#startedUnixMs = deps.scheduler.now().unix;
    this.#verifier = createRecordVerifier(trustedSignatures(deps.trust, deps.crypto));
    this.#catalogue = new Catalogue(config.domain, deps.embedder, (agentId, thrown) =>
      deps.log.error("registry.embedding_failed", agentId ? { agentId } : {}, thrown),
    );
    const limits = this.#limits;
    this.#queries = new CallLimit(() => limits.queriesPerMinute, "queries", "queriesPerMinute");
    this.#registrations = new CallLimit(() => limits.registrationsPerMinute, "registrations", "registrationsPerMinute");
    for (const registration of deps.store.all()) {
      if (registration.deregisteredAt !== undefined) continue;
      this.#registered += 1;
      this.#show(registration.agentId);
    }
  }

  /** Starts housekeeping. */
  start(): void {
    const run = (): void => {
      const now = this.#deps.scheduler.now();
      this.#deps.store.prune(asUnixMs(now.unix - this.#limits.retentionMs));
      this.#cancelPrune = this.#deps.scheduler.at(later(now.instant, day), run);
    };
    run();
  }

  stop(): void {
    this.#cancelPrune?.();
  }

  get domain(): Domain {
    return this.#domain;
  }

  get size(): number {
    return this.#catalogue.size;
  }

  /** What it counts and holds (AAP-103), for an operator or a monitor of the domain; `calls` are the caller's count. */
  metrics(caller: VerifiedPeer, calls: CallTally): string {
    requireMetricsReaderOf(this.#domain, caller);
    const sizes: RegistryTableSizes = {
      registrations: { entries: this.#registered, entriesMax: this.#limits.registrationsMax },
      catalogue: { entries: this.#catalogue.size },
      followed_records: { entries: this.#followed.size },
      query_callers: this.#queries.size,
      registration_callers: this.#registrations.size,
    };
    return callServiceText("causeway_registry", {
      sizes,
      calls,
      usage: this.#deps.processUsage?.(),
      startedUnixMs: this.#startedUnixMs,
    });
  }

  /** Resolves when everything so far can be found by meaning. */
  settled(): Promise<void> {
    return this.#catalogue.settled();
  }

  /**
   * Registers or updates the caller's own record. The same record again answers as before (ANA-78). Refuses a record
   * of another agent, an older revision, the same revision with other content, and what does not verify.
   */
  register(caller: VerifiedPeer, request: ars.RegisterRequest): ars.RegisterResponse {
    // Before the audit log: nobody may fill it.
    this.#registrations.take(caller.spiffeId, this.#deps.scheduler.now().instant);
    try {
      const response = this.#register(caller, request);
      this.#audit(caller, "register", `revision ${response.revision}`);
      return response;
    } catch (thrown) {
      this.#audit(caller, "register", thrown instanceof Error ? thrown.message : "failed");
      throw thrown;
    }
  }

  #register(caller: VerifiedPeer, request: ars.RegisterRequest): ars.RegisterResponse {
    const now = this.#deps.scheduler.now().unix;
    this.#requireOwnAgent(caller);
    if (request.record === undefined)
      throw refuse("CAUSEWAY_RECORD_MALFORMED", "the request has no record; set the field record");
    const verified = this.#verifier.verifyRecord(request.record, now);
    const { agentId, revision } = verified.record;
    if (agentId !== caller.spiffeId) {
      throw refuse(
        "CAUSEWAY_RECORD_NOT_OWNER",
        `expected the record of ${caller.spiffeId}, got that of ${agentId}; an agent registers only itself`,
      );
    }
    const held = this.#deps.store.get(agentId);
    const order = compareRevisions(held, { revision, digest: verified.digest });
    if (order === "older" || order === "conflict") {
      throw refuse(
        "CAUSEWAY_RECORD_OLDER",
        `expected a revision above ${held?.revision}, got ${revision}${order === "conflict" ? " with other content" : ""}`,
      );
    }
    const isNew = held === undefined || held.deregisteredAt !== undefined;
    if (isNew && this.#registered >= this.#limits.registrationsMax) {
      throw refuse(
        "CAUSEWAY_LIMIT_COUNT",
        `the registry holds its maximum of ${this.#limits.registrationsMax} registrations`,
        {
          details: { limit: "registrationsMax" },
        },
      );
    }
    // A registration that ended and starts again is another registration: it gets another handle (ANA-16).
    const resourceId =
      held !== undefined && held.deregisteredAt === undefined ? held.resourceId : this.#newResourceId();
    const registration: StoredRegistration = {
      agentId,
      resourceId,
      revision,
      digest: verified.digest,
      record: toBinary(wire.SignedRecordSchema, verified.signed),
      registeredAt: isNew ? now : held.registeredAt,
      updatedAt: now,
      deregisteredAt: undefined,
    };
    this.#deps.store.put(registration);
    if (isNew) this.#registered += 1;
    this.#show(agentId);
    this.#deps.log.info("registry.agent_registered", { agentId, revision, resourceId });
    return create(ars.RegisterResponseSchema, { resourceId, revision, receipt: this.#receipt(registration, now) });
  }

  /** Ends the caller's registration. An operator of the domain may end any. */
  deregister(caller: VerifiedPeer, request: ars.DeregisterRequest): ars.DeregisterResponse {
    this.#registrations.take(caller.spiffeId, this.#deps.scheduler.now().instant);
    const held = this.#find(caller, request.resourceId);
    if (held === undefined) {
      this.#audit(caller, "deregister", "refused");
      this.#deps.log.warn("registry.deregistration_refused", { caller: caller.spiffeId });
      throw refuse(
        "CAUSEWAY_RECORD_NOT_FOUND",
        "expected the resource ID of an own registration; none of yours has this one",
      );
    }
    this.#deps.store.put({ ...held, deregisteredAt: this.#deps.scheduler.now().unix });
    this.#registered -= 1;
    this.#show(held.agentId);
    this.#audit(caller, "deregister", request.reason === "" ? "done" : request.reason);
    this.#deps.log.info("registry.agent_deregistered", { agentId: held.agentId, caller: caller.spiffeId });
    return create(ars.DeregisterResponseSchema);
  }

  /** Finds agents. At most `queriesPerMinute` for each caller. */
  discover(caller: VerifiedPeer, request: ars.DiscoverRequest): Promise<ars.DiscoverResponse> {
    this.#requireOwn(caller);
    if (new TextEncoder().encode(request.text).length > queryBytesMax) {
      throw refuse("CAUSEWAY_LIMIT_COUNT", `expected a query of at most ${queryBytesMax} bytes`, {
        details: { limit: "queryBytesMax" },
      });
    }
    // Every entry of a filter is compared with every agent.
    if (toBinary(ars.DiscoverRequestSchema, request).length > requestBytesMax) {
      throw refuse("CAUSEWAY_LIMIT_COUNT", `expected a query of at most ${requestBytesMax} bytes with its filters`, {
        details: { limit: "requestBytesMax" },
      });
    }
    if (request.limit > limitMax)
      throw refuse("CAUSEWAY_LIMIT_COUNT", `expected a limit from 1 to ${limitMax}, got ${request.limit}`, {
        details: { limit: "limitMax" },
      });
    this.#queries.take(caller.spiffeId, this.#deps.scheduler.now().instant);
    return this.#catalogue.discover(request, this.#askerOf(caller));
  }

  /** One record by name, when the caller may see it. */
  getRecord(caller: VerifiedPeer, request: ars.GetRecordRequest): ars.GetRecordResponse {
    this.#requireOwn(caller);
    const entry = this.#catalogue.get(request.agentId as AgentId);
    if (entry === undefined || !this.#catalogue.visibleTo(entry, caller.domain)) {
      throw refuse(
        "CAUSEWAY_RECORD_NOT_FOUND",
        `no agent ${JSON.stringify(request.agentId.slice(0, 200))} is registered or visible to ${caller.domain}`,
      );
    }
    const found = { score: 1, why: "asked for by name" };
    return create(ars.GetRecordResponseSchema, {
      match: this.#catalogue.toMatch(entry, this.#askerOf(caller), found),
    });
  }

  /** Takes over what the Level-2 gateway tells of an agent; undefined when it is gone (AMSP is the only replication, C-7). */
  follow(agentId: AgentId, followed: FollowedRecord | undefined): void {
    if (followed === undefined) this.#followed.delete(agentId);
    else this.#followed.set(agentId, followed);
    this.#show(agentId);
  }

  /** Merges the own registration and what was followed into what can be found. */
  #show(agentId: AgentId): void {
    const registration = this.#deps.store.get(agentId);
    const followed = this.#followed.get(agentId);
    if (registration?.deregisteredAt !== undefined || (registration === undefined && followed === undefined)) {
      this.#catalogue.remove(agentId);
      return;
    }
    if (registration === undefined && followed !== undefined) {
      this.#catalogue.put({ agentId, ...followed });
      return;
    }
    if (registration === undefined) return;
    // The own store has the newest text of an own agent; where and whether it is attached, its gateway knows.
    const own = parseStoredRecord(registration.record);
    this.#catalogue.put({
      agentId,
      record: own.record,
      signedRecord: own.signed,
      signedOrigin: followed?.signedOrigin,
      status: followed?.status,
      applicable: followed?.applicable ?? true,
      gatewayUri: followed?.gatewayUri ?? "",
      path: followed?.path ?? [],
      freshUnixMs: Math.max(registration.updatedAt, followed?.freshUnixMs ?? 0),
    });
  }

  #receipt(registration: StoredRegistration, now: UnixMs): wire.SignedReceipt {
    return signReceipt(this.#deps.signer(), {
      agentId: registration.agentId,
      resourceId: registration.resourceId,
      revision: registration.revision,
      bodyDigest: registration.digest,
      issuedAt: now,
      expiresAt: asUnixMs(now + this.#limits.receiptMs),
    });
  }

  #find(caller: VerifiedPeer, resourceId: string): StoredRegistration | undefined {
    if (caller.role === "operator" && caller.domain === this.#domain) {
      for (const registration of this.#deps.store.all()) {
        if (registration.resourceId === resourceId && registration.deregisteredAt === undefined) return registration;
      }
      return undefined;
    }
    const held = this.#deps.store.get(caller.spiffeId);
    const encoder = new TextEncoder();
    const isOwn =
      held !== undefined &&
      held.deregisteredAt === undefined &&
      equalBytes(encoder.encode(held.resourceId), encoder.encode(resourceId));
    return isOwn ? held : undefined;
  }

  #newResourceId(): string {
    return `rid-${[...this.#deps.crypto.randomBytes(16)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  }

  #askerOf(caller: VerifiedPeer): Asker {
    return askerOf(caller, this.#remoteGateway, (agentId) => this.#followed.get(agentId)?.gatewayUri);
  }

  #requireOwn(caller: VerifiedPeer): void {
    if (caller.domain === this.#domain) return;
    throw refuse(
      "CAUSEWAY_IDENTITY_ROLE_WRONG",
      `expected a caller of ${this.#domain}, got one of ${caller.domain}; ask the registry of your own domain`,
    );
  }

  #requireOwnAgent(caller: VerifiedPeer): void {
    this.#requireOwn(caller);
    if (caller.role === "agent") return;
    throw refuse("CAUSEWAY_IDENTITY_ROLE_WRONG", `expected an agent, got a caller with the role ${caller.role}`);
  }

  #audit(caller: VerifiedPeer, action: string, outcome: string): void {
    this.#deps.store.audit({
      at: this.#deps.scheduler.now().unix,
      caller: caller.spiffeId,
      action,
      outcome: outcome.slice(0, outcomeCharsMax),
    });
  }
}

const queryBytesMax = 1_024;
const requestBytesMax = 8_192;
const outcomeCharsMax = 1_000;
const limitMax = 100;
