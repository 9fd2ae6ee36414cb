/**
 * GW-DISCOVER and GW-OFFER in datagrams (C-3, AAP-102): for large access networks, and off unless a gateway is configured
 * for it. The Agent ID does not cross the network, only a salted hash. A gateway keeps nothing for a stranger: the first
 * datagram of an address is answered with a cookie, and only who comes back with it, from the same address, costs a
 * signature. No answer is larger than its request. What comes of it is an offer like every other: a hint.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type AgentId, type Instant, type Now, type Random, refuse } from "@causeway/core-base";
import type { CryptoPort } from "@causeway/core-identity";
import { aap, hex } from "@causeway/core-wire";
import { isFeatureList } from "./features.ts";
import { discoverNonceBytes } from "./offers.ts";

/** Least size of a request; what is smaller is dropped. */
export const datagramBytesMin = 1_400;
/** Largest datagram that is read. */
export const datagramBytesMax = 1_472;

/** A request, padded. `salt` and `nonce` are 16 fresh random bytes each. */
export function encodeDatagramDiscover(
  crypto: CryptoPort,
  request: {
    readonly agentId: AgentId;
    readonly salt: Uint8Array;
    readonly nonce: Uint8Array;
    readonly requiredFeatures?: readonly string[];
    readonly cookie?: Uint8Array;
  },
): Uint8Array {
  const message = create(aap.DatagramDiscoverSchema, {
    agentHash: crypto.sha256(concat(text("causeway discover v1\0"), request.salt, text(request.agentId))),
    salt: request.salt,
    nonce: request.nonce,
    requiredFeatures: [...(request.requiredFeatures ?? [])],
    cookie: request.cookie ?? new Uint8Array(0),
  });
  const size = toBinary(aap.DatagramDiscoverSchema, message).length;
  // Tag and length of the padding take three bytes at this size.
  message.padding = new Uint8Array(Math.max(0, datagramBytesMin - size - 3));
  return toBinary(aap.DatagramDiscoverSchema, message);
}

/** An answer to the request with this nonce; undefined for everything else. */
export function decodeDatagramAnswer(bytes: Uint8Array, nonce: Uint8Array): aap.DatagramAnswer["answer"] | undefined {
  if (bytes.length > datagramBytesMax) return undefined;
  try {
    const answer = fromBinary(aap.DatagramAnswerSchema, bytes);
    return hex(answer.nonce) === hex(nonce) ? answer.answer : undefined;
  } catch {
    // Whatever it is, it is no answer to us.
    return undefined;
  }
}

export interface DatagramResponderOptions {
  readonly crypto: CryptoPort;
  readonly random: Random;
  /** Makes a signed offer, or none: because of load, or a feature that is missing. */
  readonly offer: (request: aap.DatagramDiscover, now: Now) => aap.DiscoverResponse | undefined;
  /** Offers for one address each minute. Default 30. */
  readonly offersPerSourceMax?: number;
  /** Offers each second for all. Default 500. */
  readonly offersPerSecondMax?: number;
}

/** What became of datagrams. */
export interface DatagramCounts {
  /** Too small, too large, or not what it should be: no answer. */
  malformed: number;
  cookies: number;
  offers: number;
  /** Over a limit, or the gateway has nothing to offer: no answer. */
  silent: number;
}

/** The gateway's side. */
export class DatagramResponder {
  readonly counts: DatagramCounts = { malformed: 0, cookies: 0, offers: 0, silent: 0 };
  readonly #options: DatagramResponderOptions;
  readonly #perSource = new Map<string, number>();
  #keys: readonly [current: Uint8Array, previous: Uint8Array];
  #rotatesAt: Instant | undefined;
  #second = 0;
  #offersThisSecond = 0;

  constructor(options: DatagramResponderOptions) {
    this.#options = options;
    this.#keys = [options.random.bytes(keyBytes), options.random.bytes(keyBytes)];
  }

  /** `source`: address and port. Answers what to send back there, or nothing. Never throws. */
  handle(now: Now, source: string, bytes: Uint8Array): Uint8Array | undefined {
    this.#rotate(now.instant);
    const request = readRequest(bytes);
    if (request === undefined) {
      this.counts.malformed++;
      return undefined;
    }
    if (!this.#keys.some((key) => hex(this.#cookie(key, source)) === hex(request.cookie))) {
      this.counts.cookies++;
      return encodeAnswer(request.nonce, { case: "cookie", value: this.#cookie(this.#keys[0], source) });
    }
    const offer = this.#allows(source, now.instant) ? this.#options.offer(request, now) : undefined;
    const answer = offer && encodeAnswer(request.nonce, { case: "offer", value: offer });
    if (answer === undefined || answer.length > bytes.length) {
      this.counts.silent++;
      return undefined;
    }
    this.counts.offers++;
    return answer;
  }

  #rotate(instant: Instant): void {
    if (this.#rotatesAt !== undefined && instant < this.#rotatesAt) return;
    const { random } = this.#options;
    // After a long silence the key before this one is too old as well.
    const isLate = this.#rotatesAt !== undefined && instant >= this.#rotatesAt + cookieMs;
    if (this.#rotatesAt !== undefined)
      this.#keys = [random.bytes(keyBytes), isLate ? random.bytes(keyBytes) : this.#keys[0]];
    this.#rotatesAt = (instant + cookieMs) as Instant;
    this.#perSource.clear();
  }

  #allows(source: string, instant: Instant): boolean {
    const { offersPerSourceMax = 30, offersPerSecondMax = 500 } = this.#options;
    const second = Math.floor(instant / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#offersThisSecond = 0;
    }
    // Ports are free to choose: what counts is the address.
    const address = source.slice(0, source.lastIndexOf(":"));
    const count = this.#perSource.get(address) ?? 0;
    if (count >= offersPerSourceMax || this.#offersThisSecond >= offersPerSecondMax) return false;
    if (count === 0 && this.#perSource.size >= sourcesMax) return false;
    this.#perSource.set(address, count + 1);
    this.#offersThisSecond++;
    return true;
  }

  /** HMAC-SHA-256 over the source, cut to 16 bytes. */
  #cookie(key: Uint8Array, source: string): Uint8Array {
    const { crypto } = this.#options;
    const block = new Uint8Array(64);
    block.set(key);
    const inner = crypto.sha256(
      concat(
        block.map((byte) => byte ^ 0x36),
        text(source),
      ),
    );
    return crypto
      .sha256(
        concat(
          block.map((byte) => byte ^ 0x5c),
          inner,
        ),
      )
      .slice(0, cookieBytes);
  }
}

function readRequest(bytes: Uint8Array): aap.DatagramDiscover | undefined {
  if (bytes.length < datagramBytesMin || bytes.length > datagramBytesMax) return undefined;
  try {
    const request = fromBinary(aap.DatagramDiscoverSchema, bytes);
    const isWell =
      request.nonce.length === discoverNonceBytes &&
      request.salt.length === saltBytes &&
      request.agentHash.length === hashBytes &&
      (request.cookie.length === 0 || request.cookie.length === cookieBytes) &&
      isFeatureList(request.requiredFeatures);
    return isWell ? request : undefined;
  } catch {
    // Not protobuf.
    return undefined;
  }
}

function encodeAnswer(nonce: Uint8Array, answer: aap.DatagramAnswer["answer"]): Uint8Array {
  return toBinary(aap.DatagramAnswerSchema, create(aap.DatagramAnswerSchema, { nonce, answer }));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function text(ascii: string): Uint8Array {
  if (!/^[\0-\x7f]*$/.test(ascii)) throw refuse("CAUSEWAY_MISUSE", "expected ASCII");
  return Uint8Array.from(ascii, (character) => character.charCodeAt(0));
}

/** How long a cookie is good for: one to two of these. */
const cookieMs = 60_000;
const keyBytes = 32;
const cookieBytes = 16;
const saltBytes = 16;
const hashBytes = 32;
/** Addresses that are counted each minute; more get no offer until the next one. */
const sourcesMax = 20_000;
