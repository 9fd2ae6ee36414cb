/**
 * Follows the domain's Level-2 gateway over AMSP as a reader: drives the sync machine, which judges every record, and
 * hands each agent's best candidate to the registry. Nothing is stored; after a restart the whole view comes again.
 */
import {
  type AgentId,
  CausewayError,
  type Domain,
  type Log,
  type Random,
  type Scheduler,
  type SpiffeId,
} from "@causeway/core-base";
import type { CryptoPort, TrustStore, VerifiedPeer } from "@causeway/core-identity";
import { createRecordVerifier, parseOriginStatement, trustedSignatures } from "@causeway/core-records";
import { type SyncEffect, SyncMachine, type SyncPeerStatus } from "@causeway/core-sync";
import { amsp } from "@causeway/core-wire";
import { createClient, type Transport } from "@connectrpc/connect";
import type { FollowedRecord } from "./follow.ts";
import { Outbox } from "./outbox.ts";

/** One connection to a gateway. */
export interface SyncConnection {
  readonly transport: Transport;
  readonly peer: VerifiedPeer;
  close(): void;
}

export interface ReaderDeps {
  readonly self: { readonly spiffeId: SpiffeId; readonly domain: Domain };
  readonly trust: TrustStore;
  readonly crypto: CryptoPort;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly log: Log;
  /** Connects to a gateway of the own domain. */
  readonly dial: (url: string, signal: AbortSignal) => Promise<SyncConnection>;
  readonly follow: (agentId: AgentId, record: FollowedRecord | undefined) => void;
}

interface Session {
  readonly connection: SyncConnection;
  readonly outbox: Outbox<amsp.Message>;
}

export class SyncReader implements AsyncDisposable {
  readonly #deps: ReaderDeps;
  readonly #machine: SyncMachine;
  readonly #sessions = new Map<number, Session>();
  readonly #abort = new AbortController();
  #lastSession = 0;
  #cancelWake: (() => void) | undefined;

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
    this.#machine = new SyncMachine({
      self: { name: deps.self.spiffeId, domain: deps.self.domain, role: "reader" },
      verifier: createRecordVerifier(trustedSignatures(deps.trust, deps.crypto)),
      sha256: (data) => deps.crypto.sha256(data),
      random: deps.random,
      sign: () => {
        throw new Error("a reader originates nothing");
      },
      own: { epoch: 1n, sequence: 0n },
    });
  }

  /** Dials `urls` and keeps following them until disposed. */
  start(urls: readonly string[]): void {
    for (const target of urls) this.#run(() => this.#machine.addTarget(this.#deps.scheduler.now(), { target }));
  }

  peers(): readonly SyncPeerStatus[] {
    return this.#machine.peers();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#abort.signal.aborted) return;
    this.#run(() => this.#machine.leave(this.#deps.scheduler.now()));
    this.#abort.abort();
    this.#cancelWake?.();
    for (const { outbox, connection } of this.#sessions.values()) {
      outbox.end();
      connection.close();
    }
    this.#sessions.clear();
  }

  /** One input to the machine, then its effects in order, then its timer. */
  #run(input: () => void): void {
    if (this.#abort.signal.aborted) return;
    input();
    for (let effects = this.#machine.drain(); effects.length > 0; effects = this.#machine.drain()) {
      const changed = new Set<AgentId>();
      for (const effect of effects) this.#perform(effect, changed);
      for (const agentId of changed) this.#deps.follow(agentId, this.#best(agentId));
    }
    this.#cancelWake?.();
    const deadline = this.#machine.deadline();
    this.#cancelWake =
      deadline === undefined
        ? undefined
        : this.#deps.scheduler.at(deadline, () =>
            this.#run(() => this.#machine.handleTimeout(this.#deps.scheduler.now())),
          );
  }

  #perform(effect: SyncEffect, changed: Set<AgentId>): void {
    switch (effect.type) {
      case "dial":
        void this.#dial(effect.target);
        return;
      case "send":
        this.#sessions.get(effect.session)?.outbox.push(effect.message);
        return;
      case "close":
        this.#sessions.get(effect.session)?.outbox.end();
        return;
      case "install":
        changed.add(effect.route.agentId);
        return;
      case "remove":
        changed.add(effect.agentId);
        return;
      case "event":
        this.#deps.log.info(effect.event.name, "peer" in effect.event ? { peer: effect.event.peer } : {});
        return;
      case "persist":
      case "answer":
        return;
    }
  }

  #best(agentId: AgentId): FollowedRecord | undefined {
    const [route] = this.#machine.routes(agentId);
    if (route === undefined) return undefined;
    return {
      record: route.record,
      signedRecord: route.signed,
      signedOrigin: route.signedOrigin,
      status: route.status,
      applicable: route.applicable,
      gatewayUri: route.origin,
      path: route.path,
      freshUnixMs: parseOriginStatement(route.signedOrigin.statement).at,
    };
  }

  async #dial(target: string): Promise<void> {
    const { scheduler, log } = this.#deps;
    let connection: SyncConnection;
    try {
      connection = await this.#deps.dial(target, this.#abort.signal);
    } catch (thrown) {
      const { message } = CausewayError.from(thrown);
      log.debug("sync.dial_failed", { target, message });
      this.#run(() => this.#machine.handleDialFailed(scheduler.now(), target, message));
      return;
    }
    const session = ++this.#lastSession;
    const outbox = new Outbox<amsp.Message>();
    this.#sessions.set(session, { connection, outbox });
    this.#run(() => this.#machine.handleOpened(scheduler.now(), { session, peer: connection.peer, target }));
    let reason = "the gateway closed the session";
    try {
      const client = createClient(amsp.SyncService, connection.transport);
      for await (const message of client.session(outbox, { signal: this.#abort.signal })) {
        this.#run(() => this.#machine.handleMessage(scheduler.now(), session, message));
      }
    } catch (thrown) {
      reason = thrown instanceof Error ? thrown.message : String(thrown);
    }
    if (this.#sessions.delete(session)) this.#run(() => this.#machine.handleClosed(scheduler.now(), session, reason));
    outbox.end();
    connection.close();
  }
}
