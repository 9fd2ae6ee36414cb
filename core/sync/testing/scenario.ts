/**
 * Recorded scenarios: blocks of commands, a dashed line, and what happened. The text is the expectation; a run prints
 * the same text again, and the two are compared.
 */
import { parseAgentId } from "@causeway/core-base";
import { parseOriginStatement } from "@causeway/core-records";
import type { amsp } from "@causeway/core-wire";
import type { SyncEffect } from "../src/effects.ts";
import { type Node, SyncNetwork } from "./network.ts";

/** Runs a scenario file and returns it with the outputs as they are now. */
export function playScenario(text: string): string {
  const stage = new Stage();
  return text
    .trimEnd()
    .split("\n\n")
    .map((block) => {
      const lines = block.split("\n");
      const end = lines.indexOf("----");
      if (end < 0) return block;
      const input = lines.slice(0, end);
      const output = input.filter((line) => !line.startsWith("#")).flatMap((line) => stage.perform(line));
      return [...input, "----", ...(output.length > 0 ? output : ["(nothing)"])].join("\n");
    })
    .join("\n\n")
    .concat("\n");
}

class Stage {
  readonly #net = new SyncNetwork();
  readonly #lines: string[] = [];
  #seen = 0;

  constructor() {
    this.#net.onEffect = (node, effect) => this.#note(node, effect);
  }

  perform(line: string): readonly string[] {
    const [command = "", ...words] = line.trim().split(/\s+/);
    const [a = "", b = "", c = ""] = words;
    const net = this.#net;
    this.#lines.length = 0;
    switch (command) {
      case "gateway":
        net.add(a, { role: b === "level1" ? "level1" : "level2", ...(c !== "" && { domain: c }) });
        return [];
      case "reader":
        net.add(a, { role: "reader" });
        return [];
      case "dial":
        net.connect(a, b);
        break;
      case "run":
        net.run(Number(a));
        break;
      case "announce":
        net.announce(a, agentName(b));
        break;
      case "status":
        net.setStatus(a, agentName(b), c as "online" | "degraded" | "offline");
        break;
      case "withdraw":
        net.withdraw(a, agentName(b));
        break;
      case "subscribe":
        net.input(a, (m) => m.subscribe(net.now, { skills: [b] }));
        break;
      case "query":
        net.input(a, (m) => m.query(net.now, { agentId: parseAgentId(agentName(b)) }));
        break;
      case "leave":
        net.input(a, (m) => m.leave(net.now));
        break;
      case "cut":
        net.cut(a, b);
        break;
      case "freeze":
        net.freeze(a, b);
        break;
      case "heal":
        net.heal(a, b);
        break;
      case "crash":
        net.crash(a);
        break;
      case "restart":
        net.restart(a);
        break;
      case "table":
        return [...net.node(a).table.values()].map(
          (r) =>
            `<${shortAgent(r.agentId)}, ${r.via === "local" ? "local" : net.nameOf(r.via)}> ${r.status}${r.applicable ? "" : " inapplicable"}: ${r.reason}`,
        );
      case "states":
        return net
          .machine(a)
          .peers()
          .map(
            (p) => `${net.nameOf(p.name)} ${p.state} in ${p.recordsIn} out ${p.recordsOut} loops ${p.loopsDiscarded}`,
          );
      case "quiet":
        net.run(Number(a));
        this.#seen = net.crossings.length;
        return [];
      default:
        throw new Error(`unknown command in scenario: ${line}`);
    }
    this.#noteCrossings();
    return [...this.#lines];
  }

  #noteCrossings(): void {
    for (; this.#seen < this.#net.crossings.length; this.#seen++) {
      const crossing = this.#net.crossings[this.#seen];
      if (crossing !== undefined)
        this.#lines.push(`${crossing.from} -> ${crossing.to}: ${this.#words(crossing.message)}`);
    }
  }

  #note(node: Node, effect: SyncEffect): void {
    const net = this.#net;
    this.#noteCrossings();
    if (effect.type === "install") {
      const { agentId, via, path, reason, status, applicable } = effect.route;
      const way = via === "local" ? "local" : `via ${net.nameOf(via)} [${path.map((p) => net.nameOf(p)).join(" ")}]`;
      this.#lines.push(
        `${node.name} installs ${shortAgent(agentId)} ${way} ${status}${applicable ? "" : " inapplicable"} (${reason})`,
      );
    } else if (effect.type === "remove") {
      this.#lines.push(`${node.name} removes ${shortAgent(effect.agentId)} (${effect.reason})`);
    } else if (effect.type === "answer") {
      const { result } = effect;
      this.#lines.push(
        `${node.name} answers ${result.found ? result.routes.map((r) => `${shortAgent(r.agentId)} via ${net.nameOf(r.via)}`).join(", ") : result.error.code}`,
      );
    } else if (effect.type === "event" && effect.event.name === "sync.peer_changed") {
      const { peer, from, to, reason } = effect.event;
      this.#lines.push(`${node.name}: ${net.nameOf(peer)} ${from} -> ${to} (${reason})`);
    } else if (effect.type === "event") {
      this.#lines.push(`${node.name}: ${effect.event.name}`);
    }
  }

  #words({ body }: amsp.Message): string {
    const names = (path: amsp.Path | undefined): string =>
      path === undefined
        ? "no PATH"
        : `PATH ${path.gateways.map((p) => this.#net.nameOf(p)).join(" -> ") || "(empty)"}`;
    switch (body.case) {
      case "hello":
        return `hello${body.value.resumeToken.length > 0 ? ` resume ${body.value.resumeNumber}` : ""}`;
      case "snapshotBegin":
        return `snapshot begin, ${body.value.records} records${body.value.full ? ", full" : ""}`;
      case "update": {
        const { number, origin, record, path } = body.value;
        const s = parseOriginStatement(origin?.statement ?? new Uint8Array());
        const what = s.withdrawn ? "withdrawn" : `${s.status}${record === undefined ? ", no body" : ""}`;
        return `update ${number}: ${shortAgent(s.agentId)} ${s.version.epoch}.${s.version.sequence} ${what}, ORIGIN ${this.#net.nameOf(s.origin)}, ${names(path)}`;
      }
      case "withdraw":
        return `withdraw ${body.value.number}: ${shortAgent(body.value.agentId)}`;
      case "snapshotEnd":
        return "snapshot end";
      case "ack":
        return `ack ${body.value.number}`;
      case "notify":
        return `notify ${body.value.error?.code} on ${body.value.number}`;
      case "close":
        return `close${body.value.leaving ? " leaving" : ""}${body.value.error === undefined ? "" : ` ${body.value.error.code}`}`;
      case "query":
        return `query ${shortAgent(body.value.agentId)}, ${body.value.hops} hops`;
      case "result":
        return `result ${body.value.error?.code ?? body.value.matches.length}`;
      default:
        return body.case ?? "unknown";
    }
  }
}

const agentName = (short: string): string => `blue.example/x/${short}`;
const shortAgent = (id: string): string => id.split("/").at(-1) ?? id;
