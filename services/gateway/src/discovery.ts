/** GW-DISCOVER and GW-OFFER (AAP-37, AAP-38): a signed hint where to attach. Attaching proves everything anew (AAP-53). */
import { DatagramResponder, makeOffer, type OfferFacts, offerFor } from "@causeway/core-attachment";
import { agentOf, parseSpiffeId, refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { aap } from "@causeway/core-wire";
import type { GatewayConfig, GatewayDeps, GatewayLimits } from "./ports.ts";
import { CallerRates } from "./token-bucket.ts";

/** Answers discovery requests of authenticated callers. */
export class Discovery {
  readonly #config: GatewayConfig;
  readonly #deps: GatewayDeps;
  readonly #features: readonly string[];
  readonly #limits: GatewayLimits;
  readonly #load: () => number | "draining";
  readonly #datagrams: DatagramResponder;
  readonly #rates: CallerRates;

  /** `load` answers 0 (idle) to 100 (full). */
  constructor(
    config: GatewayConfig,
    deps: GatewayDeps,
    limits: GatewayLimits,
    features: readonly string[],
    load: () => number | "draining",
  ) {
    this.#config = config;
    this.#rates = new CallerRates("discoveryQueriesPerMinute", () => limits.discoveryQueriesPerMinute, 60_000);
    this.#deps = deps;
    this.#limits = limits;
    this.#features = features;
    this.#load = load;
    this.#datagrams = new DatagramResponder({
      crypto: deps.crypto,
      random: deps.random,
      offer: (request, now) => {
        const current = load();
        if (current === "draining") return undefined;
        return offerFor(request, this.#facts(current), now.unix, deps.identity.tlsSigner());
      },
    });
  }

  /** GW-DISCOVER in a datagram (C-3): what to send back to the source, or nothing. */
  datagram(source: string, bytes: Uint8Array): Uint8Array | undefined {
    return this.#datagrams.handle(this.#deps.scheduler.now(), source, bytes);
  }

  /** What became of datagrams so far; empty while none came. */
  counters(): Readonly<Record<string, number>> {
    const { malformed, cookies, offers, silent } = this.#datagrams.counts;
    if (malformed + cookies + offers + silent === 0) return {};
    return {
      causeway_discovery_datagrams_malformed_total: malformed,
      causeway_discovery_datagrams_cookies_total: cookies,
      causeway_discovery_datagrams_offers_total: offers,
      causeway_discovery_datagrams_silent_total: silent,
    };
  }

  discover(caller: VerifiedPeer, request: aap.DiscoverRequest): aap.DiscoverResponse {
    this.#rates.check(caller.spiffeId, this.#deps.scheduler.now().instant);
    const agentId = agentOf(parseSpiffeId(request.agentId));
    if (agentId !== caller.spiffeId) {
      throw refuse(
        "CAUSEWAY_IDENTITY_MISMATCH",
        `expected the caller's own Agent ID ${caller.spiffeId}, got ${agentId}`,
      );
    }
    const missing = request.requiredFeatures.filter((feature) => !this.#features.includes(feature));
    if (missing.length > 0) {
      throw refuse("CAUSEWAY_ATTACHMENT_FEATURE_MISSING", `this gateway lacks ${missing.join(", ")}`);
    }
    const load = this.#load();
    if (load === "draining") {
      throw refuse("CAUSEWAY_GATEWAY_DRAINING", "this gateway is going out of service; attach elsewhere");
    }
    const { identity, scheduler } = this.#deps;
    const offer = makeOffer(request, this.#facts(load), scheduler.now().unix, identity.tlsSigner());
    if (offer === undefined) {
      throw refuse("CAUSEWAY_FORWARDING_OVERLOADED", "this gateway is full; attach elsewhere", {
        retryAfterMs: 60_000,
      });
    }
    return offer;
  }

  #facts(load: number): OfferFacts {
    const { gatewayUri, endpoint } = this.#config;
    const { silentAtLoadPercent: silentAtLoad } = this.#limits;
    const gatewayId = this.#deps.identity.spiffeId;
    return { gatewayId, gatewayUri, endpoint, features: this.#features, load, silentAtLoad };
  }
}
