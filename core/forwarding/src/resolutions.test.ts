import { type AgentId, asInstant, asUnixMs, type GatewayUri, parseAgentId, parseGatewayUri } from "@causeway/core-base";
import { testScenarios } from "@causeway/core-base/testing/scenario";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type ResolutionEffect, type ResolutionLimits, Resolutions } from "./resolutions.ts";
import type { RouteCandidate } from "./route.ts";

const defaults: ResolutionLimits = {
  resolveMs: 2_000,
  resolvingMax: 2,
  resolvingPerSourceMax: 2,
  unknownMs: 5_000,
  unknownMax: 2,
  resolvedMs: 60_000,
  resolvedMax: 2,
};
const agent = (name: string): AgentId => parseAgentId(`green.example/x/${name}`);
const gateway = (name: string): GatewayUri => parseGatewayUri(`https://${name}.example/amsp`);
const short = (name: string): string => name.replace(/^.*\/x\/|^https:\/\/|\.example\/amsp$/g, "");
const at = (ms: number) => ({ instant: asInstant(ms), unix: asUnixMs(1_800_000_000_000 + ms) });
const way = (agentId: AgentId, origin: GatewayUri, peer: GatewayUri): RouteCandidate => ({
  agentId,
  origin,
  via: { kind: "peer", peer },
  path: [],
  epoch: 1n,
  sequence: 1n,
  status: 1,
  applicable: true,
  attachmentSequence: 1n,
});

/** The language of the recorded scenarios. */
class Script {
  readonly #limits = { ...defaults };
  readonly #machine = new Resolutions(this.#limits);
  #ms = 0;

  run(line: string): readonly string[] {
    const [command = "", name = "", ...words] = line.split(" ");
    const now = at(this.#ms);
    const machine = this.#machine;
    switch (command) {
      case "want":
        machine.want(now, agent(name), agent(words[0] ?? "alice"));
        break;
      case "found": {
        const candidates = words.map((word) => {
          const [origin = "", peer = ""] = word.split(">");
          return way(agent(name), gateway(origin), gateway(peer));
        });
        machine.handleAnswer(now, agent(name), { found: true, candidates });
        break;
      }
      case "none": {
        const error = { code: "CAUSEWAY_FORWARDING_NO_ROUTE", message: "nobody" } as const;
        machine.handleAnswer(now, agent(name), { found: false, error, isFinal: words[0] !== "yet" });
        break;
      }
      case "record":
        machine.handleRoute(now, agent(name), gateway(words[0] ?? ""), words[1] !== "gone");
        break;
      case "down":
        machine.handlePeerDown(now, gateway(name));
        break;
      case "limit":
        this.#limits[name as keyof ResolutionLimits] = Number(words[0]);
        machine.handleTimeout(now);
        break;
      case "late":
        // A timer that fires later than it should.
        this.#ms += Number(name);
        break;
      case "advance": {
        const end = this.#ms + Number(name);
        const lines: string[] = [];
        for (let due = machine.deadline(); due !== undefined && due <= end; due = machine.deadline()) {
          this.#ms = Math.max(this.#ms, due);
          machine.handleTimeout(at(this.#ms));
          lines.push(...machine.drain().map((effect) => `${this.#ms}: ${show(effect)}`));
        }
        this.#ms = end;
        return lines;
      }
      default:
        throw new Error(`no command ${command}`);
    }
    return machine.drain().map(show);
  }
}

function show(effect: ResolutionEffect): string {
  switch (effect.type) {
    case "install": {
      const { agentId, origin, via } = effect.candidate;
      return `install ${short(agentId)} at ${short(origin)} over ${via.kind === "peer" ? short(via.peer) : "local"}`;
    }
    case "withdraw":
      return `withdraw ${short(effect.agentId)} at ${short(effect.origin)}`;
    case "refuse":
      return `refuse ${short(effect.agentId)}: ${effect.error.code}`;
    default:
      return `${effect.type} ${short(effect.agentId)}`;
  }
}

testScenarios(new URL("../scenarios/", import.meta.url), () => new Script());

const agents = ["a", "b", "c", "d"].map(agent);
const gateways = ["g1", "g2"].map(gateway);
const sources = ["s", "t"].map(agent);
const input = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("want" as const),
      agentId: fc.constantFrom(...agents),
      source: fc.constantFrom(...sources),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("answer" as const),
      agentId: fc.constantFrom(...agents),
      origins: fc.option(fc.uniqueArray(fc.constantFrom(...gateways), { minLength: 1 })),
      isFinal: fc.boolean(),
    }),
  },
  fc.record({
    kind: fc.constant("route" as const),
    agentId: fc.constantFrom(...agents),
    origin: fc.constantFrom(...gateways),
    isOffered: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("limits" as const),
    values: fc.record({
      resolveMs: fc.constantFrom(500, 2_000, 8_000),
      unknownMs: fc.constantFrom(1_000, 5_000, 50_000),
      resolvedMs: fc.constantFrom(2_000, 60_000),
    }),
  }),
  fc.record({ kind: fc.constant("down" as const), peer: fc.constantFrom(...gateways) }),
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("advance" as const), ms: fc.integer({ min: 1, max: 9_000 }) }),
  },
);

test("every question ends once and in time, tables keep their bounds, and nothing that a record offers is withdrawn", () => {
  fc.assert(
    fc.property(fc.array(input, { maxLength: 120 }), (inputs) => {
      const limits = { ...defaults, resolvingMax: 3 };
      const machine = new Resolutions(limits);
      let ms = 0;
      let limitsChangedAt = -1;
      /** Since when an agent is asked for. */
      const asked = new Map<AgentId, number>();
      const askedBy = new Map<AgentId, AgentId>();
      const waiting = new Set<AgentId>();
      /** What the forwarding table holds, and whether a record offers it. */
      const entries = new Map<string, { readonly isRecord: boolean }>();
      const take = (): void => {
        for (const effect of machine.drain()) {
          switch (effect.type) {
            case "ask":
              expect(asked.has(effect.agentId)).toBe(false);
              asked.set(effect.agentId, ms);
              break;
            case "install":
              entries.set(`${effect.candidate.agentId} ${effect.candidate.origin}`, { isRecord: false });
              break;
            case "withdraw": {
              const key = `${effect.agentId} ${effect.origin}`;
              expect(entries.get(key)).toEqual({ isRecord: false });
              entries.delete(key);
              break;
            }
            default:
              if (ms !== limitsChangedAt)
                expect(ms - (asked.get(effect.agentId) ?? ms)).toBeLessThanOrEqual(limits.resolveMs);
              asked.delete(effect.agentId);
              waiting.delete(effect.agentId);
          }
        }
        expect([...waiting].filter((each) => !asked.has(each))).toEqual([]);
        const { open, unknown, resolved } = machine.status();
        expect(open).toBe(asked.size);
        expect(open).toBeLessThanOrEqual(limits.resolvingMax);
        for (const source of sources) {
          const ofSource = [...asked.keys()].filter((each) => askedBy.get(each) === source);
          expect(ofSource.length).toBeLessThanOrEqual(limits.resolvingPerSourceMax);
        }
        expect(unknown).toBeLessThanOrEqual(defaults.unknownMax);
        expect(resolved).toBeLessThanOrEqual(defaults.resolvedMax);
        const fromAnswers = [...entries].filter(([, each]) => !each.isRecord);
        expect(new Set(fromAnswers.map(([key]) => key.split(" ")[0])).size).toBe(resolved);
      };
      for (const each of inputs) {
        switch (each.kind) {
          case "want":
            waiting.add(each.agentId);
            if (!asked.has(each.agentId)) askedBy.set(each.agentId, each.source);
            machine.want(at(ms), each.agentId, each.source);
            break;
          case "limits":
            Object.assign(limits, each.values);
            limitsChangedAt = ms;
            machine.handleTimeout(at(ms));
            break;
          case "answer": {
            if (!asked.has(each.agentId)) {
              machine.handleAnswer(at(ms), each.agentId, { found: true, candidates: [] });
              break;
            }
            const error = { code: "CAUSEWAY_FORWARDING_NO_ROUTE", message: "nobody" } as const;
            // What a record offers already is no part of an answer: the driver asks its own base first.
            const origins = each.origins?.filter((origin) => !entries.has(`${each.agentId} ${origin}`)) ?? [];
            const candidates = origins.map((origin) => way(each.agentId, origin, origin));
            machine.handleAnswer(
              at(ms),
              each.agentId,
              candidates.length > 0 ? { found: true, candidates } : { found: false, error, isFinal: each.isFinal },
            );
            break;
          }
          case "route": {
            const key = `${each.agentId} ${each.origin}`;
            if (each.isOffered) entries.set(key, { isRecord: true });
            else entries.delete(key);
            machine.handleRoute(at(ms), each.agentId, each.origin, each.isOffered);
            break;
          }
          case "down":
            machine.handlePeerDown(at(ms), each.peer);
            break;
          case "advance": {
            const end = ms + each.ms;
            for (let due = machine.deadline(); due !== undefined && due <= end; due = machine.deadline()) {
              ms = Math.max(ms, due);
              machine.handleTimeout(at(ms));
              take();
            }
            ms = end;
          }
        }
        take();
      }
    }),
    { numRuns: 500 },
  );
});
