/** Agents of several domains over one hub, in memory, with real certificates and real MLS, on a clock that a test owns. */
import { create } from "@bufbuild/protobuf";
import { nodeCrypto } from "@causeway/adapter-keys";
import { defaultFeatures, type GatewayUse, makeOffer } from "@causeway/core-attachment";
import {
  asUnixMs,
  type CausewayError,
  domainOf,
  type Log,
  parseAgentId,
  parseGatewayUri,
  refuse,
  silentLog,
} from "@causeway/core-base";
import { SeededRandom } from "@causeway/core-base/testing";
import { type Role, TrustStore, type VerifiedPeer } from "@causeway/core-identity";
import { parseRecordBody, signReceipt } from "@causeway/core-records";
import { aca, ars, record } from "@causeway/core-wire";
import { createEndToEnd, type EndToEnd, MemoryStateStore } from "@causeway/e2ee";
import { type OpenOptions, openAgent } from "../agent.ts";
import type { Agent } from "../api.ts";
import type { Connector, GatewayLink, RegistryPort } from "../connector.ts";
import { DirectWire } from "./direct-wire.ts";
import { Hub } from "./hub.ts";
import { ManualClock } from "./manual-clock.ts";
import { TestDomain, type TestIdentity } from "./test-domain.ts";

/** What survives a restart of an agent: its identity and its store. */
export interface TestHome {
  identity: TestIdentity;
  readonly store: MemoryStateStore;
  readonly stateKey: Uint8Array;
}

/** Options of one agent of the network. */
export interface TestAgentOptions extends OpenOptions {
  /** From an earlier run of the same agent. */
  readonly home?: TestHome;
  /** True: the gateway is asked for an offer first (GW-DISCOVER). */
  readonly discover?: boolean;
  /** Endpoints that are asked for offers, in this order, and the features that the gateway at each of them has. */
  readonly offers?: Readonly<Record<string, readonly string[]>>;
  /** True: takes direct links. */
  readonly listens?: boolean;
  /** Stands in for dialling; `open` makes the link. */
  readonly dial?: (open: () => GatewayLink) => Promise<GatewayLink>;
  /** Default: nothing is logged. */
  readonly log?: Log;
  /** How far the agent's wall clock is ahead of the others'. Default 0. */
  readonly clockSkewMs?: number;
  /** Endpoints of `gateways` that it is told of, in this order. Default the first gateway of its domain. */
  readonly gateways?: readonly string[];
  /** The gateway that answers: role and domain as certified. Default the right one. */
  readonly gateway?: { readonly role: Role; readonly domain: string };
}

/** A running agent with the handles of a test. */
export interface TestAgent extends Agent {
  readonly home: TestHome;
  /** Certificates were renewed. */
  renew(): void;
}

export class TestNetwork {
  readonly clock = new ManualClock();
  readonly random: SeededRandom;
  readonly hub: Hub;
  /** Links between agents, past the gateways. */
  readonly direct: DirectWire;
  /** Sees every payload that an agent's end-to-end layer made or was given. */
  onPayload: (agent: string, direction: "sealed" | "opened", payload: Uint8Array) => void = () => undefined;
  readonly #domains = new Map<string, TestDomain>();
  readonly #gateways = new Map<string, TestIdentity>();
  readonly #trusts = new Set<{ readonly store: TrustStore; readonly changed: () => void }>();
  readonly #judge: TrustStore;
  readonly #records = new Map<string, { readonly signed: record.SignedRecord; readonly resourceId: string }>();
  readonly #registries = new Map<string, TestIdentity>();
  #sequence = 0n;

  constructor(
    options: { readonly seed?: number; readonly domains?: readonly string[]; readonly gatewayUse?: GatewayUse } = {},
  ) {
    this.random = new SeededRandom(options.seed ?? 1);
    const names = options.domains ?? ["blue.example", "green.example"];
    for (const name of names) {
      const domain = new TestDomain(name, () => this.clock.now().unix);
      this.#domains.set(name, domain);
      this.#registries.set(name, domain.issue(`${name}/registry/main`, "registry"));
    }
    for (const [name, domain] of this.#domains)
      for (const [at, gateway] of Object.entries(gateways))
        this.#gateways.set(`${name} ${at}`, domain.issue(`${name}/gateway/${gateway}`, "gateway"));
    this.#judge = this.#newTrust(() => undefined);
    this.hub = new Hub(this.#gateways.values(), this.clock, this.random, options.gatewayUse);
    this.direct = new DirectWire(this.clock, this.random);
  }

  issue(name: string, role: Role = "agent"): TestIdentity {
    const id = parseAgentId(name);
    return this.#domain(domainOf(id)).issue(id, role);
  }

  /** Revokes an agent's certificates and pushes the news to everyone. */
  revoke(identity: TestIdentity): void {
    this.#domain(domainOf(identity.spiffeId)).revoke(identity);
    this.#publishTrust();
  }

  /** Takes an agent onto the network. */
  async connect(name: string, options: TestAgentOptions = {}): Promise<TestAgent> {
    const home = options.home ?? {
      identity: this.issue(name),
      store: new MemoryStateStore(),
      stateKey: this.random.bytes(32),
    };
    const renewals = new Set<() => void>();
    const trustListeners = new Set<() => void>();
    const trust = this.#newTrust(() => {
      for (const listener of trustListeners) listener();
    });
    const connector = this.#connector(home, trust, options, trustListeners, renewals);
    const agent = await this.clock.until(openAgent(connector, options));
    return Object.assign(agent, {
      home,
      renew: () => {
        const { spiffeId, role } = home.identity;
        home.identity = this.#domain(domainOf(spiffeId)).issue(spiffeId, role, home.identity);
        for (const listener of renewals) listener();
      },
    });
  }

  #connector(
    home: TestHome,
    trust: TrustStore,
    options: TestAgentOptions,
    trustListeners: Set<() => void>,
    renewals: Set<() => void>,
  ): Connector {
    const { store, stateKey } = home;
    const { spiffeId } = home.identity;
    const listen = (set: Set<() => void>) => (listener: () => void) => {
      set.add(listener);
      return () => set.delete(listener);
    };
    const side = { identity: () => home.identity, verify: (other: TestIdentity) => this.#peer(trust, other) };
    return {
      identity: {
        agentId: spiffeId,
        crypto: nodeCrypto,
        trust,
        signer: (purpose) => home.identity.signer(purpose),
        mls: () => ({ chain: home.identity.signer("mls").chain, privateKey: home.identity.mlsKey.exportSeed() }),
        notAfter: () => asUnixMs(this.clock.now().unix + 86_400_000),
        onTrust: listen(trustListeners),
        onRenewed: listen(renewals),
      },
      sources: [
        {
          method: "static",
          hints: options.offers
            ? Object.keys(options.offers).map((each) => ({ method: "static", endpoint: each, discover: true }))
            : (options.gateways ?? [endpoint]).map((each) => ({
                method: "static",
                endpoint: each,
                discover: options.discover ?? false,
              })),
        },
      ],
      lookUp: async () => [],
      dial: async ({ endpoint: at }) => {
        const gateway = this.#gatewayFor(options, domainOf(spiffeId), at);
        const open = (): GatewayLink =>
          this.hub.open(this.#peer(this.#judge, home.identity), this.#peer(trust, gateway));
        return options.dial ? options.dial(open) : open();
      },
      discoverGateway: async (asked, request) => {
        this.hub.onFrame("discover");
        const gateway = this.#gatewayFor(options, domainOf(spiffeId), asked);
        const facts = {
          gatewayId: gateway.spiffeId,
          gatewayUri: parseGatewayUri(`https://${gateway.spiffeId.split("/").at(-1)}.${domainOf(spiffeId)}/amsp`),
          endpoint: asked,
          features: options.offers?.[asked] ?? defaultFeatures,
          load: 10,
          silentAtLoad: 95,
        };
        const offer = makeOffer(request, facts, this.clock.now().unix, gateway.signer("tls"));
        if (!offer) throw refuse("CAUSEWAY_UNREACHABLE", "the gateway stays silent");
        return offer;
      },
      direct: {
        ...(options.listens && { listen: async (onLink) => this.direct.listen(side, onLink) }),
        dial: async (url) => {
          await this.direct.held;
          return this.direct.dial(url, side);
        },
      },
      registry: this.#registry(home),
      scheduler: {
        now: () => {
          const { instant, unix } = this.clock.now();
          return { instant, unix: asUnixMs(unix + (options.clockSkewMs ?? 0)) };
        },
        at: (when, run) => this.clock.at(when, run),
      },
      random: this.random,
      store,
      createEndToEnd: async (basics) => this.#tapped(spiffeId, await createEndToEnd({ ...basics, store, stateKey })),
      log: options.log ?? silentLog,
      close: async () => undefined,
    };
  }

  #tapped(agent: string, endToEnd: EndToEnd): EndToEnd {
    const { seal, open } = endToEnd;
    endToEnd.seal = async (peer, plaintext, purpose) => {
      const frames = await seal.call(endToEnd, peer, plaintext, purpose);
      for (const { payload } of frames) this.onPayload(agent, "sealed", payload);
      return frames;
    };
    endToEnd.open = (source, context, payload) => {
      this.onPayload(agent, "opened", payload);
      return open.call(endToEnd, source, context, payload);
    };
    return endToEnd;
  }

  #gatewayFor(options: TestAgentOptions, domain: string, at: string): TestIdentity {
    if (!options.gateway)
      return (this.#gateways.get(`${domain} ${at}`) ?? this.#gateways.get(`${domain} ${endpoint}`)) as TestIdentity;
    const { role, domain: other } = options.gateway;
    return this.#domain(other).issue(`${other}/gateway/odd`, role);
  }

  #peer(trust: TrustStore, identity: TestIdentity): VerifiedPeer {
    return trust.verifyChain(identity.signer("tls").chain, { now: this.clock.now().unix, purpose: "tls" });
  }

  #registry(home: TestHome): RegistryPort {
    const { spiffeId } = home.identity;
    const registry = this.#registries.get(domainOf(spiffeId)) as TestIdentity;
    return {
      register: async ({ record: signed }) => {
        if (!signed) throw refuse("CAUSEWAY_RECORD_MALFORMED", "expected a record, got none");
        const { revision } = parseRecordBody(signed.body);
        const resourceId = `res-${this.#records.size + 1}`;
        this.#records.set(spiffeId, { signed, resourceId });
        const issuedAt = this.clock.now().unix;
        const receipt = signReceipt(registry.signer("record"), {
          agentId: spiffeId,
          resourceId,
          revision,
          bodyDigest: nodeCrypto.sha256(signed.body),
          issuedAt,
          expiresAt: asUnixMs(issuedAt + 30 * 86_400_000),
        });
        return create(ars.RegisterResponseSchema, { resourceId, revision, receipt });
      },
      deregister: async () => {
        this.#records.delete(spiffeId);
      },
      discover: async ({ text }) => {
        const matches = [...this.#records].map(([agentId, { signed }]) =>
          this.#match(agentId, signed, `found for ${text}`),
        );
        return create(ars.DiscoverResponseSchema, { matches, considered: BigInt(matches.length) });
      },
      getRecord: async ({ agentId }) => {
        const found = this.#records.get(agentId);
        if (!found) throw refuse("CAUSEWAY_RECORD_NOT_FOUND", `no record of ${agentId}`);
        return create(ars.GetRecordResponseSchema, { match: this.#match(agentId, found.signed, "asked for by name") });
      },
    };
  }

  /** Replaces what the registry holds of an agent, as a lying registry would. */
  forge(agent: string, as: string): void {
    const found = this.#records.get(agent);
    if (found) this.#records.set(as, found);
  }

  #match(agentId: string, signed: record.SignedRecord, why: string): ars.Match {
    return create(ars.MatchSchema, {
      agentId,
      record: signed,
      why,
      score: 1,
      local: true,
      status: record.AgentStatus.ONLINE,
      freshUnixMs: BigInt(this.clock.now().unix),
    });
  }

  #newTrust(changed: () => void): TrustStore {
    const store = new TrustStore(nodeCrypto);
    const entry = { store, changed };
    this.#trusts.add(entry);
    store.replace(this.#state());
    return store;
  }

  #publishTrust(): void {
    const state = this.#state();
    for (const { store, changed } of this.#trusts) {
      store.replace(state);
      changed();
    }
  }

  #state(): aca.TrustState {
    return create(aca.TrustStateSchema, {
      sequence: ++this.#sequence,
      bundles: [...this.#domains.values()].map((domain) => domain.bundle()),
    });
  }

  #domain(name: string): TestDomain {
    const domain = this.#domains.get(name);
    if (!domain)
      throw refuse(
        "CAUSEWAY_MISUSE",
        `expected a domain of the network (${[...this.#domains.keys()].join(", ")}), got ${name}`,
      );
    return domain;
  }
}

const endpoint = "https://127.0.0.1:7401";

/** Gateways of each domain, by endpoint. */
export const gateways: Readonly<Record<string, string>> = {
  [endpoint]: "gw",
  "https://127.0.0.1:7402": "gw2",
  "https://127.0.0.1:7403": "gw3",
};

/** The code of what `work` fails with; "none" when it succeeds. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => (error as CausewayError).code ?? String(error),
  );
}
