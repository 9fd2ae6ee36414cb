/**
 * A certified gateway that misbehaves: it changes what leaves its machine. PATH in a loop, PATH that lies about its
 * first hop, replays of older versions, statements that it has no authority over, forged and oversized ones, gaps.
 */
import { clone, create } from "@bufbuild/protobuf";
import { asUnixMs, parseAgentId } from "@causeway/core-base";
import { labelled, signBytes } from "@causeway/core-identity";
import { encodeOriginStatement, type OriginStatement, parseOriginStatement } from "@causeway/core-records";
import { amsp, record } from "@causeway/core-wire";
import type { Gateway } from "./gateway.ts";
import { signatures } from "./identities.ts";
import { SeededRandom } from "./random.ts";
import type { World } from "./world.ts";

export class Liar {
  readonly #world: World;
  readonly #gateway: Gateway;
  readonly #random: SeededRandom;

  constructor(world: World, gateway: Gateway) {
    this.#world = world;
    this.#gateway = gateway;
    this.#random = new SeededRandom(world.plan.seed, 5);
  }

  start(): void {
    this.#gateway.tamper = (message, to) => this.#change(message, to);
  }

  #change(message: amsp.Message, to: Gateway): amsp.Message {
    if (message.body.case !== "update" || !this.#random.chance(0.4)) return message;
    const changed = clone(amsp.MessageSchema, message);
    if (changed.body.case === "update") this.#lie(changed.body.value, to);
    return changed;
  }

  #lie(update: amsp.Update, to: Gateway): void {
    const random = this.#random;
    const path = update.path?.gateways ?? [];
    const others = [...this.#world.gateways.values()].filter((g) => g.plan.role === "level2" && g !== this.#gateway);
    const setPath = (gateways: string[]): void => void (update.path = create(amsp.PathSchema, { gateways }));
    switch (
      random.pick([
        "loop",
        "repeat",
        "first-hop",
        "none",
        "long",
        "replay",
        "forged",
        "foreign",
        "impersonated",
        "oversized",
        "gap",
      ] as const)
    ) {
      case "loop":
        return setPath([...path, to.uri]);
      case "repeat":
        return setPath([...path, ...path, this.#gateway.uri]);
      case "first-hop": {
        const other = random.pickOr(others);
        return other === undefined ? undefined : setPath([other.uri, ...path.slice(1)]);
      }
      case "none":
        delete update.path;
        return;
      case "long":
        return setPath([...path, ...Array.from({ length: 40 }, (_, i) => `https://far${i}.blue.example/amsp`)]);
      case "replay": {
        const old = random.pickOr(this.#world.facts.statements);
        if (old !== undefined) update.origin = old.signed;
        return;
      }
      case "forged":
        if (update.origin !== undefined) update.origin.statement = this.#restate(update.origin, {});
        return;
      case "foreign":
        // Its own signature, for an agent of a domain that is not its own.
        update.origin = this.#sign(this.#statementOf(update), {
          agentId: parseAgentId("green.example/shop/agent0"),
          origin: this.#gateway.uri,
        });
        return;
      case "impersonated":
        update.origin = this.#sign(this.#statementOf(update), {});
        return;
      case "oversized":
        if (update.record !== undefined) update.record.body = new Uint8Array(20_000);
        return;
      case "gap":
        update.number += 3n;
        return;
    }
  }

  #statementOf(update: amsp.Update): OriginStatement {
    return parseOriginStatement(update.origin?.statement ?? new Uint8Array());
  }

  /** The same statement a thousand versions later. */
  #restate(origin: record.SignedOrigin, more: Partial<OriginStatement>): Uint8Array {
    const statement = parseOriginStatement(origin.statement);
    const version = { epoch: statement.version.epoch, sequence: statement.version.sequence + 1_000n };
    return encodeOriginStatement({ ...statement, version, at: asUnixMs(statement.at), ...more });
  }

  #sign(statement: OriginStatement, more: Partial<OriginStatement>): record.SignedOrigin {
    const version = { epoch: statement.version.epoch, sequence: statement.version.sequence + 1_000n };
    const changed = { ...statement, version, ...more };
    const bytes = encodeOriginStatement(changed);
    const isOwnRight =
      changed.origin === this.#gateway.uri && changed.agentId.startsWith(`spiffe://${this.#gateway.plan.domain}/`);
    // What it may say is no lie, however odd.
    if (isOwnRight)
      return create(record.SignedOriginSchema, {
        statement: bytes,
        signature: signBytes(wrongSigner, labelled("origin", bytes)),
      });
    const signature = signBytes(this.#gateway.identity.recordSigner, labelled("origin", bytes));
    return create(record.SignedOriginSchema, { statement: bytes, signature });
  }
}

/** Signs under a name that nobody has certified. */
const wrongSigner = {
  chain: [new TextEncoder().encode("spiffe://blue.example/gateway/nobody")],
  spki: new Uint8Array(),
  sign: (message: Uint8Array) => signatures.sha256(message),
};
