/** Looking for a gateway: sources in order, offers in a window, a choice with its reason. */
import type { CausewayError } from "@causeway/core-base";
import { hex } from "@causeway/core-wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AgentAttachment, type AgentAttachmentOptions } from "./agent.ts";
import type { AgentEffect, BootstrapHint, BootstrapMethod, BootstrapSource } from "./effects.ts";
import { at } from "./fixtures/handshake.ts";
import { countingRandom, identity, testCrypto } from "./fixtures/identities.ts";
import { hintsPerSourceMax } from "./gateway-search.ts";
import type { VerifiedOffer } from "./offers.ts";

const self = identity("blue.example/a", "agent");
const agent = (sources: readonly BootstrapSource[], more: Partial<AgentAttachmentOptions> = {}): AgentAttachment =>
  new AgentAttachment({
    agentId: self.id,
    instance: "i",
    sources,
    signer: () => self.signer,
    crypto: testCrypto,
    random: countingRandom(),
    ...more,
  });
const hint = (method: BootstrapMethod, host: string, discover = false): BootstrapHint => ({
  method,
  endpoint: `https://${host}:1`,
  discover,
});
const offerOf = (nonce: Uint8Array, host: string, more: Partial<VerifiedOffer> = {}): VerifiedOffer =>
  ({
    endpoint: `https://${host}:1`,
    method: "static",
    gatewayId: identity(`blue.example/gateway/${host}`, "gateway").id,
    features: ["agp/1", "mls/1"],
    load: 0,
    delayMs: 1,
    nonce,
    expiresUnixMs: at(60_000).unix,
    ...more,
  }) as VerifiedOffer;
const asked = (effects: readonly AgentEffect[]): { endpoint: string; nonce: Uint8Array }[] =>
  effects.flatMap((e) => (e.kind === "discover" ? [e] : []));
const dialled = (effects: readonly AgentEffect[]): string[] =>
  effects.flatMap((e) => (e.kind === "connect" ? [`${e.candidate.method} ${e.candidate.endpoint}`] : []));
const kinds = (effects: readonly AgentEffect[]): string[] => effects.map((e) => e.kind);

test("sources are tried in the order of policy; one that yields nothing leads to the next [AAP-46]", () => {
  const machine = agent([{ method: "dns" }, { method: "dhcp" }, { method: "static", hints: [hint("static", "gw1")] }]);
  machine.start(at(0));
  expect(machine.drain()).toEqual([{ kind: "look-up", request: 1, source: 0, method: "dns" }]);
  machine.handleHints(at(1), 1, [], { code: "CAUSEWAY_UNREACHABLE", message: "no DNS server answers" });
  expect(machine.drain()).toEqual([{ kind: "look-up", request: 2, source: 1, method: "dhcp" }]);
  // An answer to a question that is over changes nothing.
  machine.handleHints(at(2), 1, [hint("dns", "late")]);
  expect(machine.drain()).toEqual([]);
  machine.handleHints(at(3), 2, []);
  expect(dialled(machine.drain())).toEqual(["static https://gw1:1"]);
  expect(machine.status().passedOver).toEqual([
    { method: "dns", endpoint: "", why: "no DNS server answers" },
    { method: "dhcp", endpoint: "", why: "it named no gateway" },
  ]);
  machine.handleLinkDown(at(4), 1);
  expect(machine.status().state).toBe("backoff");
  // The next round begins at the front.
  machine.handleTimeout(at(1_000));
  expect(kinds(machine.drain())).toContain("look-up");
});

test("a source whose gateways all fail to authenticate leads to the next one [AAP-53, AAP-57]", () => {
  const machine = agent([{ method: "dhcp" }, { method: "static", hints: [hint("static", "gw1")] }]);
  machine.start(at(0));
  machine.handleHints(at(1), 1, [hint("dhcp", "rogue1"), hint("dhcp", "rogue2")]);
  for (const attempt of [1, 2])
    machine.handleLinkDown(at(2), attempt, {
      code: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
      message: "unknown root",
    });
  expect(dialled(machine.drain())).toEqual(["dhcp https://rogue1:1", "dhcp https://rogue2:1", "static https://gw1:1"]);
  expect(machine.status().passedOver.map(({ endpoint, why }) => `${endpoint} ${why}`)).toEqual([
    "https://rogue1:1 CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED: unknown root",
    "https://rogue2:1 CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED: unknown root",
  ]);
});

test("offers are collected for 500 ms, the policy chooses, and the reason is kept [AAP-38, AAP-41]", () => {
  const hints = ["gw1", "gw2", "gw3"].map((host) => hint("anycast", host, true));
  const machine = agent([{ method: "anycast", hints }]);
  machine.start(at(0));
  const questions = asked(machine.drain());
  expect(questions.map(({ endpoint }) => endpoint)).toEqual(["https://gw1:1", "https://gw2:1", "https://gw3:1"]);
  const loads = [40, 10, 20];
  questions.forEach(({ nonce }, i) =>
    machine.handleOffer(at(10 * i), offerOf(nonce, `gw${i + 1}`, { load: loads[i] ?? 0 })),
  );
  machine.handleTimeout(at(499));
  expect(machine.drain()).toEqual([]);
  machine.handleTimeout(at(500));
  expect(dialled(machine.drain())).toEqual(["anycast https://gw2:1"]);
  machine.handleLinkDown(at(501), 1);
  expect(dialled(machine.drain())).toEqual(["anycast https://gw3:1"]);
});

test("when all that were asked have answered nobody waits; when none has, the first offer ends the wait [AAP-41]", () => {
  const hints = ["gw1", "gw2"].map((host) => hint("dns", host, true));
  const quick = agent([{ method: "dns", hints }]);
  quick.start(at(0));
  const [one, two] = asked(quick.drain());
  quick.handleOffer(at(20), offerOf(one?.nonce ?? new Uint8Array(), "gw1"));
  quick.handleAnswered(at(20), one?.nonce ?? new Uint8Array());
  expect(dialled(quick.drain())).toEqual([]);
  quick.handleAnswered(at(30), two?.nonce ?? new Uint8Array(), { code: "CAUSEWAY_UNREACHABLE", message: "refused" });
  expect(dialled(quick.drain())).toEqual(["dns https://gw1:1"]);
  expect(quick.status().passedOver).toEqual([
    { method: "dns", endpoint: "https://gw2:1", why: "CAUSEWAY_UNREACHABLE: refused" },
  ]);

  const far = agent([{ method: "dns", hints }]);
  far.start(at(0));
  const [, second] = asked(far.drain());
  far.handleTimeout(at(500));
  expect(far.status().state).toBe("discovering");
  far.handleOffer(at(900), offerOf(second?.nonce ?? new Uint8Array(), "gw2"));
  expect(dialled(far.drain())).toEqual(["dns https://gw2:1"]);

  const mute = agent([{ method: "dns", hints }]);
  mute.start(at(0));
  mute.handleTimeout(at(500));
  mute.handleTimeout(at(5_000));
  expect([mute.status().state, mute.status().passedOver.map(({ why }) => why)]).toEqual([
    "backoff",
    ["it did not answer in time", "it did not answer in time"],
  ]);
});

test("an offer with a nonce of an earlier question, or a second one of the same gateway, is discarded [AAP-48]", () => {
  const machine = agent([{ method: "anycast", hints: [hint("anycast", "any", true)] }]);
  machine.start(at(0));
  const [first] = asked(machine.drain());
  machine.handleAnswered(at(1), first?.nonce ?? new Uint8Array());
  machine.drain();
  machine.handleTimeout(at(1_000));
  const [second] = asked(machine.drain());
  expect(hex(second?.nonce ?? new Uint8Array())).not.toBe(hex(first?.nonce ?? new Uint8Array()));
  machine.handleOffer(at(1_001), offerOf(first?.nonce ?? new Uint8Array(), "gw1"));
  machine.handleOffer(at(1_002), offerOf(second?.nonce ?? new Uint8Array(), "gw2"));
  machine.handleOffer(at(1_003), offerOf(second?.nonce ?? new Uint8Array(), "gw2", { endpoint: "https://gw9:1" }));
  const events = machine.drain();
  expect(kinds(events)).toEqual(["event", "event"]);
  machine.handleTimeout(at(1_500));
  expect(dialled(machine.drain())).toEqual(["anycast https://gw2:1"]);
});

test("a source that does not answer is passed over after 5 s; hints have a bound", () => {
  const machine = agent([{ method: "dns" }, { method: "dhcp" }]);
  machine.start(at(0));
  machine.handleTimeout(at(5_000));
  const many = Array.from({ length: hintsPerSourceMax + 2 }, (_, i) => hint("dhcp", `gw${i}`));
  machine.handleHints(at(5_001), 2, many);
  expect(machine.status().passedOver.map(({ why }) => why)).toEqual([
    "it did not answer within 5000 ms",
    "only 16 hints of one source are used",
    "only 16 hints of one source are used",
  ]);
  expect(() => agent([])).toThrow(
    expect.objectContaining({ code: "CAUSEWAY_MISUSE" } satisfies Partial<CausewayError>) as Error,
  );
});

test("whatever sources, answers and failures come: it attaches nowhere unasked and never stops trying [AAP-45]", () => {
  type Step =
    | { kind: "hints"; hosts: number; discover: boolean }
    | { kind: "offer"; which: number }
    | { kind: "answered"; which: number }
    | { kind: "down" }
    | { kind: "wait"; ms: number };
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ kind: fc.constant("hints" as const), hosts: fc.nat(4), discover: fc.boolean() }),
    fc.record({ kind: fc.constant("offer" as const), which: fc.nat(3) }),
    fc.record({ kind: fc.constant("answered" as const), which: fc.nat(3) }),
    fc.record({ kind: fc.constant("down" as const) }),
    fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 40_000 }) }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), (sources, steps) => {
      const machine = agent(Array.from({ length: sources }, () => ({ method: "dns" as const })));
      let ms = 0;
      const named = new Set<string>();
      let request = 0;
      let questions: { nonce: Uint8Array }[] = [];
      const look = (): void => {
        for (const effect of machine.drain()) {
          if (effect.kind === "look-up") request = effect.request;
          if (effect.kind === "discover") questions = [...questions.slice(-3), effect];
          if (effect.kind === "connect") expect(named).toContain(effect.candidate.endpoint);
        }
        // A machine that waits for nothing would be stuck for ever.
        expect(machine.deadline()).toBeDefined();
      };
      machine.start(at(ms));
      look();
      for (const each of steps) {
        if (each.kind === "hints") {
          const hints = Array.from({ length: each.hosts }, (_, i) => hint("dns", `h${i}`, each.discover));
          if (!each.discover) for (const { endpoint } of hints) named.add(endpoint);
          machine.handleHints(at(ms), request, hints);
        } else if (each.kind === "offer") {
          const nonce = questions[each.which]?.nonce ?? new Uint8Array(16);
          named.add("https://offered:1");
          machine.handleOffer(at(ms), offerOf(nonce, "offered"));
        } else if (each.kind === "answered") {
          machine.handleAnswered(at(ms), questions[each.which]?.nonce ?? new Uint8Array(16));
        } else if (each.kind === "down") {
          machine.handleLinkDown(at(ms), machine.status().attempt);
        } else {
          ms += each.ms;
          machine.handleTimeout(at(ms));
        }
        look();
      }
    }),
  );
});
