/** Drives the sync machine of one gateway or reader: sessions over the fabric, the store, the forwarding table. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { signOrigin } from "@causeway/core-records";
import { type RouteCandidate, type SyncEffect, SyncMachine, type SyncOptions } from "@causeway/core-sync";
import { amsp } from "@causeway/core-wire";
import { Alarm } from "./clock.ts";
import type { Pipe } from "./fabric.ts";
import type { Gateway } from "./gateway.ts";
import { signatures } from "./identities.ts";
import { routeDelta } from "./routes.ts";

export class SyncSide {
  readonly machine: SyncMachine;
  readonly #gateway: Gateway;
  readonly #sessions = new Map<number, Pipe>();
  readonly #alarm: Alarm;

  constructor(gateway: Gateway) {
    const { plan, world, identity, store } = gateway;
    this.#gateway = gateway;
    const options: SyncOptions = {
      self: { name: gateway.uri, domain: plan.domain, role: plan.role },
      verifier: signatures.verifier(),
      sha256: (data) => signatures.sha256(data),
      random: gateway.random,
      sign: (statement) => {
        const signed = signOrigin(identity.recordSigner, statement);
        gateway.facts.noteSigned(statement, signed);
        return signed;
      },
      own: store.own,
      records: [...store.records.values()],
      vectors: [...store.vectors.values()],
      policy: gateway.policy,
      limits: gateway.limits.sync,
    };
    this.machine = new SyncMachine(options);
    this.#alarm = new Alarm(world.queue, `${gateway.name} sync timer`, () =>
      this.input((machine) => machine.handleTimeout(gateway.now())),
    );
  }

  /** Takes up what was stored, then dials. */
  start(): void {
    this.input((machine) => machine.handleTimeout(this.#gateway.now()));
    for (const target of this.#gateway.plan.dials)
      this.input((machine) => machine.addTarget(this.#gateway.now(), { target }));
  }

  accept(pipe: Pipe): boolean {
    this.#adopt(pipe, undefined);
    return true;
  }

  /** For each transport that stands, as far as this side knows, the name of the peer. */
  sessions(): readonly string[] {
    return [...this.#sessions.values()].map((pipe) => pipe.remote);
  }

  /** Number of the connection that carries the session with a peer. */
  connectionTo(name: string): number | undefined {
    return [...this.#sessions.values()].find((pipe) => pipe.remote === name)?.id;
  }

  stop(): void {
    this.#alarm.arm(undefined);
    for (const pipe of this.#sessions.values()) pipe.handler = undefined;
    this.#sessions.clear();
  }

  input(work: (machine: SyncMachine) => void): void {
    const gateway = this.#gateway;
    if (gateway.sync !== this) return;
    gateway.world.touch(gateway);
    work(this.machine);
    let count = 0;
    for (let effects = this.machine.drain(); effects.length > 0; effects = this.machine.drain()) {
      for (const effect of effects) {
        if (!gateway.burn()) return;
        count += 1;
        this.#perform(effect);
        gateway.world.tell("syncEffect", gateway, effect);
      }
    }
    gateway.world.tell("effects", gateway, "sync", count);
    const deadline = this.machine.deadline();
    this.#alarm.arm(deadline === undefined ? undefined : gateway.timeOf(deadline));
  }

  #perform(effect: SyncEffect): void {
    const gateway = this.#gateway;
    switch (effect.type) {
      case "dial":
        this.#dial(effect.target);
        break;
      case "send":
        this.#send(effect.session, effect.message);
        break;
      case "close":
        this.#sessions.get(effect.session)?.close();
        this.#sessions.delete(effect.session);
        break;
      case "persist":
        gateway.store.apply(effect.change);
        break;
      case "install":
        gateway.table.apply(routeDelta(effect.route));
        gateway.mail?.handleRoute(effect.route.agentId);
        gateway.world.note(() => `${gateway.name} installs ${routeText(gateway, effect.route)}`);
        break;
      case "remove":
        gateway.table.apply({ kind: "withdraw", agentId: effect.agentId, origin: effect.origin });
        gateway.mail?.handleRoute(effect.agentId);
        gateway.world.note(
          () => `${gateway.name} removes ${effect.agentId} of ${gateway.short(effect.origin)}: ${effect.reason}`,
        );
        break;
      case "answer":
        break;
      case "event":
        gateway.world.note(() => `${gateway.name} ${eventText(gateway, effect.event)}`);
        break;
    }
  }

  #send(session: number, message: amsp.Message): void {
    const pipe = this.#sessions.get(session);
    if (pipe === undefined) return;
    const gateway = this.#gateway;
    const to = gateway.world.gateway(pipe.remote);
    gateway.world.tell("syncSent", gateway, to, message);
    const sent = gateway.tamper?.(message, to) ?? message;
    gateway.world.note(() => `${gateway.name} -> ${to.name}: ${messageText(gateway, sent)}`);
    pipe.send(toBinary(amsp.MessageSchema, sent));
  }

  #dial(target: string): void {
    const gateway = this.#gateway;
    gateway.world.fabric.dial(
      "sync",
      gateway.name,
      target,
      (pipe) => {
        if (gateway.sync === this) this.#adopt(pipe, target);
        else pipe.close();
      },
      (reason) => {
        if (gateway.sync === this) this.input((machine) => machine.handleDialFailed(gateway.now(), target, reason));
      },
    );
  }

  #adopt(pipe: Pipe, target: string | undefined): void {
    const gateway = this.#gateway;
    const session = pipe.id;
    this.#sessions.set(session, pipe);
    pipe.handler = {
      message: (bytes) => this.#receive(session, bytes),
      closed: (reason) => {
        this.#sessions.delete(session);
        this.input((machine) => machine.handleClosed(gateway.now(), session, reason));
      },
    };
    const { peer } = gateway.world.gateway(pipe.remote).identity;
    this.input((machine) =>
      machine.handleOpened(gateway.now(), { session, peer, ...(target !== undefined && { target }) }),
    );
  }

  #receive(session: number, bytes: Uint8Array): void {
    let message: amsp.Message;
    try {
      message = fromBinary(amsp.MessageSchema, bytes);
    } catch {
      // Bytes that are no message, from a misbehaving peer.
      this.input((machine) => machine.handleMalformed(this.#gateway.now(), session));
      return;
    }
    this.input((machine) => machine.handleMessage(this.#gateway.now(), session, message));
  }
}

function routeText(gateway: Gateway, route: RouteCandidate): string {
  const path = route.path.map((uri) => gateway.short(uri)).join(" ");
  const version = `${route.version.epoch}.${route.version.sequence}`;
  const via = route.via === "local" ? "local" : `via ${gateway.short(route.via)} [${path}]`;
  return `${route.agentId} of ${gateway.short(route.origin)} ${version} ${route.status} ${via}${route.applicable ? "" : " inapplicable"}`;
}

function eventText(gateway: Gateway, event: Extract<SyncEffect, { type: "event" }>["event"]): string {
  switch (event.name) {
    case "sync.peer_changed":
      return `peer ${gateway.short(event.peer)}: ${event.from} to ${event.to} (${event.reason})`;
    case "sync.peer_refused":
    case "sync.update_refused":
    case "sync.subscription_refused":
      return `${event.name} ${gateway.short(event.peer)}: ${event.error.code} ${event.error.message}`;
    case "sync.notified":
      return `is told ${event.code} by ${gateway.short(event.peer)}: ${event.message}`;
    default:
      return event.name;
  }
}

function messageText(gateway: Gateway, { body }: amsp.Message): string {
  switch (body.case) {
    case "update": {
      const path = body.value.path?.gateways.map((uri) => gateway.short(uri)).join(" ") ?? "none";
      return `update ${body.value.number} ${gateway.facts.textOf(body.value.origin)} PATH [${path}]${body.value.record ? " with body" : ""}`;
    }
    case "withdraw":
      return `withdraw ${body.value.number} ${body.value.agentId} of ${gateway.short(body.value.origin)}`;
    case "hello":
      return `hello${body.value.resumeToken.length > 0 ? ` resume after ${body.value.resumeNumber}` : ""}`;
    case "snapshotBegin":
      return `snapshot begin${body.value.full ? ", full" : ""}`;
    case "ack":
      return `ack ${body.value.number}`;
    case "notify":
      return `notify ${body.value.error?.code} on ${body.value.number}`;
    case "close":
      return `close${body.value.leaving ? " leaving" : ""} ${body.value.error?.code ?? ""}`;
    default:
      return body.case ?? "unknown";
  }
}
