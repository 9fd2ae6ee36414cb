/**
 * Looking for a gateway (AAP-37, AAP-38, AAP-41, AAP-45, AAP-46): one source of hints after the other, in the order that
 * policy gave, GW-DISCOVER to what a source yields, and a choice among the offers. A source is asked only when what came
 * before it led to no attachment. Keeps why each gateway was passed over. What it doesn't know: attaching.
 */
import { defaults, type ErrorFacts, type Instant, later, type Now, type Random, Timers } from "@causeway/core-base";
import { hex } from "@causeway/core-wire";
import type {
  AgentEffect,
  BootstrapHint,
  BootstrapMethod,
  BootstrapSource,
  GatewayCandidate,
  GatewayChoice,
  PassedOver,
} from "./effects.ts";
import { chooseOffers, discoverNonceBytes, type OfferPolicy, type VerifiedOffer } from "./offers.ts";

/** Hints that are used of one source in one round; more are left out. */
export const hintsPerSourceMax = 16;
/** Sources that one agent may have. */
export const sourcesMax = 16;

export interface GatewaySearchOptions {
  readonly sources: readonly BootstrapSource[];
  readonly policy: OfferPolicy;
  readonly random: Random;
  /** How long offers are collected. Default 500 ms. */
  readonly offerWindowMs: number | undefined;
  /** Queues an effect of the machine that searches. */
  readonly emit: (effect: AgentEffect) => void;
}

interface Question {
  readonly hint: BootstrapHint;
  /** Gateways that answered it: an offer is taken once. */
  readonly answeredBy: Set<string>;
}

export class GatewaySearch {
  readonly #options: GatewaySearchOptions;
  readonly #timers = new Timers<"look-up" | "offers">();
  /** Open questions of the current source by nonce. */
  readonly #questions = new Map<string, Question>();
  #source = -1;
  #request = 0;
  #isLookingUp = false;
  #found: GatewayCandidate[] = [];
  /** Nothing came in the window: the first offer ends the wait. */
  #isWindowOver = false;
  #result: readonly GatewayChoice[] | undefined;
  #passedOver: PassedOver[] = [];

  constructor(options: GatewaySearchOptions) {
    this.#options = options;
  }

  /** Of this round. */
  get passedOver(): readonly PassedOver[] {
    return this.#passedOver;
  }

  /** Begins a round with the first source. */
  start(now: Now): void {
    this.#source = -1;
    this.#passedOver = [];
    this.next(now);
  }

  /** Goes on with the next source; false when none is left. */
  next(now: Now): boolean {
    this.stop();
    const source = this.#options.sources[this.#source + 1];
    if (source === undefined) return false;
    this.#source++;
    this.#found = [];
    if (source.hints) {
      this.#ask(now, source.hints);
      return true;
    }
    this.#isLookingUp = true;
    this.#timers.set("look-up", later(now.instant, lookUpMs));
    this.#options.emit({
      kind: "look-up",
      request: ++this.#request,
      source: this.#source,
      method: source.method,
    });
    return true;
  }

  /** Gives up what is under way; answers to it are dropped. */
  stop(): void {
    this.#timers.clearAll();
    this.#questions.clear();
    this.#isLookingUp = false;
    this.#result = undefined;
  }

  /** The candidates of the current source, best first, once they are known. Taken once. */
  take(): readonly GatewayChoice[] | undefined {
    const result = this.#result;
    this.#result = undefined;
    return result;
  }

  handleHints(now: Now, request: number, hints: readonly BootstrapHint[], error: ErrorFacts | undefined): void {
    if (request !== this.#request || !this.#isLookingUp) return;
    this.#isLookingUp = false;
    this.#timers.clear("look-up");
    if (error !== undefined) this.pass(this.#method, "", error.message);
    else if (hints.length === 0) this.pass(this.#method, "", "it named no gateway");
    this.#ask(now, hints);
  }

  /** Answers whether the offer was taken: a nonce that is not ours, or an answer twice, is not (AAP-48). */
  handleOffer(offer: VerifiedOffer): boolean {
    const question = this.#questions.get(hex(offer.nonce));
    const gateway = String(offer.gatewayId);
    if (question === undefined || question.answeredBy.has(gateway) || this.#found.length >= candidatesMax) return false;
    question.answeredBy.add(gateway);
    this.#found.push({ ...offer, method: question.hint.method });
    if (this.#isWindowOver) this.#choose();
    return true;
  }

  /** No more offers will come for a question; `error` says why none came. */
  handleAnswered(nonce: Uint8Array, error: ErrorFacts | undefined): void {
    const question = this.#questions.get(hex(nonce));
    if (question === undefined) return;
    this.#questions.delete(hex(nonce));
    if (error !== undefined) this.pass(question.hint.method, question.hint.endpoint, `${error.code}: ${error.message}`);
    else if (question.answeredBy.size === 0)
      this.pass(question.hint.method, question.hint.endpoint, "it made no offer");
    if (this.#questions.size === 0) this.#choose();
  }

  /** Notes why a gateway was not used. */
  pass(method: BootstrapMethod, endpoint: string, why: string): void {
    this.#passedOver = [...this.#passedOver, { method, endpoint, why: why.slice(0, whyLengthMax) }].slice(-notesMax);
  }

  deadline(): Instant | undefined {
    return this.#timers.deadline();
  }

  handleTimeout(now: Now): void {
    for (const name of this.#timers.takeDue(now.instant)) {
      if (name === "look-up") {
        this.#isLookingUp = false;
        this.pass(this.#method, "", `it did not answer within ${lookUpMs} ms`);
        this.#ask(now, []);
      } else if (this.#found.length > 0 || this.#isWindowOver) {
        this.#choose();
      } else {
        // Far away, or on a slow link: whoever answers first is better than nobody.
        this.#isWindowOver = true;
        this.#timers.set("offers", later(now.instant, firstOfferMs));
      }
    }
  }

  get #method(): BootstrapMethod {
    return this.#options.sources[this.#source]?.method ?? "static";
  }

  #ask(now: Now, hints: readonly BootstrapHint[]): void {
    const unique = hints.filter((hint, i) => hints.findIndex((other) => other.endpoint === hint.endpoint) === i);
    for (const hint of unique.slice(0, hintsPerSourceMax)) {
      if (!hint.discover) {
        this.#found.push({ endpoint: hint.endpoint, method: hint.method, features: [], load: 0, delayMs: 0 });
        continue;
      }
      const nonce = this.#options.random.bytes(discoverNonceBytes);
      this.#questions.set(hex(nonce), { hint, answeredBy: new Set() });
      this.#options.emit({ kind: "discover", endpoint: hint.endpoint, nonce });
    }
    for (const hint of unique.slice(hintsPerSourceMax))
      this.pass(hint.method, hint.endpoint, `only ${hintsPerSourceMax} hints of one source are used`);
    this.#isWindowOver = false;
    if (this.#questions.size === 0) return this.#choose();
    this.#timers.set("offers", later(now.instant, this.#options.offerWindowMs ?? defaults.offerWindowMs));
  }

  #choose(): void {
    this.#timers.clearAll();
    for (const { hint, answeredBy } of this.#questions.values())
      if (answeredBy.size === 0) this.pass(hint.method, hint.endpoint, "it did not answer in time");
    this.#questions.clear();
    const choice = chooseOffers(this.#found, this.#options.policy);
    for (const { candidate, error } of choice.refused) this.pass(candidate.method, candidate.endpoint, error.message);
    this.#result = choice.ranked;
  }
}

/** How long a source may take to say what it knows. */
const lookUpMs = 5_000;
/** How much longer than the window is waited when nothing came in it. */
const firstOfferMs = 4_500;
const candidatesMax = 64;
const notesMax = 64;
const whyLengthMax = 400;
