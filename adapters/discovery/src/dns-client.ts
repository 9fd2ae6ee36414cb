/**
 * A stub resolver that gives records of any type with their lifetimes: node:dns knows neither SVCB nor the lifetime of
 * SRV. Over UDP, and over TCP when an answer does not fit.
 */
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { getServers } from "node:dns";
import { connect, isIP, isIPv6 } from "node:net";
import { CausewayError, refuse } from "@causeway/core-base";
import packet, { type Answer, type DecodedPacket } from "dns-packet";

/** Types of records that are asked for. SVCB has no name in the library. */
export type RecordType = "A" | "AAAA" | "PTR" | "SRV" | "TXT" | "UNKNOWN_64";

/** Records of one name and type. */
export interface DnsRecords {
  /** As the library decodes them: text, an object, or bytes for SVCB. */
  readonly data: readonly unknown[];
  /** How long they may be used, in milliseconds. */
  readonly ttlMs: number;
}

export interface DnsClientOptions {
  /** Addresses, each with a port or without. Default: those of the system. */
  readonly servers?: readonly string[];
  /** For one question to one server. Default 1,500 ms. */
  readonly timeoutMs?: number;
  /** Milliseconds of a clock that does not jump. */
  readonly now: () => number;
}

/** Asks for records and keeps them as long as they live. */
export class DnsClient {
  readonly #options: DnsClientOptions;
  readonly #cache = new Map<string, { readonly records: DnsRecords; readonly until: number }>();

  /** Throws `CAUSEWAY_CONFIG_INVALID` for a server that is no address. */
  constructor(options: DnsClientOptions) {
    for (const server of options.servers ?? []) parseServer(server);
    this.#options = options;
  }

  /** Without such records the answer is empty. Rejects with `CAUSEWAY_UNREACHABLE` when no server answers. */
  async query(name: string, type: RecordType, signal: AbortSignal): Promise<DnsRecords> {
    const key = `${type} ${name.toLowerCase()}`;
    const { now } = this.#options;
    const held = this.#cache.get(key);
    if (held !== undefined && now() < held.until) return held.records;
    const records = await this.#ask(name, type, signal);
    this.#cache.delete(key);
    this.#cache.set(key, { records, until: now() + records.ttlMs });
    const [oldest] = this.#cache.keys();
    if (this.#cache.size > cachedMax && oldest !== undefined) this.#cache.delete(oldest);
    return records;
  }

  async #ask(name: string, type: RecordType, signal: AbortSignal): Promise<DnsRecords> {
    const { servers = getServers(), timeoutMs = timeoutMsDefault } = this.#options;
    const problems: string[] = [];
    for (const server of servers.slice(0, serversMax)) {
      try {
        const question = { name, type, server: parseServer(server) };
        const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
        return recordsIn(await exchange(question, limit), type);
      } catch (thrown) {
        if (signal.aborted) throw refuse("CAUSEWAY_CANCELLED", "looking for a gateway was given up", { cause: thrown });
        problems.push(`${server}: ${CausewayError.from(thrown).message}`);
      }
    }
    throw refuse(
      "CAUSEWAY_UNREACHABLE",
      `expected a DNS server to answer for ${name}, none of ${servers.length} did (${problems.join("; ").slice(0, 300)})`,
    );
  }
}

interface Server {
  readonly host: string;
  readonly port: number;
}

interface Question {
  readonly name: string;
  readonly type: RecordType;
  readonly server: Server;
}

function recordsIn(answer: DecodedPacket, type: RecordType): DnsRecords {
  const rcode = (answer as { readonly rcode?: string }).rcode;
  if (rcode !== "NOERROR" && rcode !== "NXDOMAIN") throw refuse("CAUSEWAY_UNREACHABLE", `it answered ${rcode}`);
  // Aliases of the name stand in the answer too, and their targets' records with them.
  const found = (answer.answers ?? []).filter((each) => (each.type as string) === type).slice(0, recordsMax);
  const ttls = found.map((each) => ("ttl" in each && each.ttl !== undefined ? each.ttl * 1_000 : ttlMsMin));
  return {
    data: found.map((each: Answer) => ("data" in each ? each.data : undefined)),
    ttlMs: Math.min(ttlMsMax, Math.max(ttlMsMin, found.length === 0 ? ttlMsMin : Math.min(...ttls))),
  };
}

/** One question over UDP, again after a while when nothing comes; over TCP when the answer was cut. */
async function exchange(question: Question, signal: AbortSignal): Promise<DecodedPacket> {
  const id = randomInt(0x10000);
  const query = packet.encode({
    type: "query",
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{ name: question.name, type: question.type as "A" }],
    additionals: [{ type: "OPT", name: ".", udpPayloadSize: datagramBytesMax, flags: 0, options: [] } as never],
  });
  const isAnswer = (answer: DecodedPacket | undefined): answer is DecodedPacket => {
    const [asked] = answer?.questions ?? [];
    return (
      answer?.type === "response" &&
      answer.id === id &&
      (asked?.type as string | undefined) === question.type &&
      asked?.name.toLowerCase() === question.name.toLowerCase()
    );
  };
  const answer = await overUdp(query, question.server, isAnswer, signal);
  return answer.flag_tc ? await overTcp(query, question.server, isAnswer, signal) : answer;
}

type IsAnswer = (answer: DecodedPacket | undefined) => answer is DecodedPacket;

function overUdp(query: Buffer, server: Server, isAnswer: IsAnswer, signal: AbortSignal): Promise<DecodedPacket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(server.host) ? "udp6" : "udp4");
    let again: NodeJS.Timeout | undefined;
    const finish = (end: () => void): void => {
      clearInterval(again);
      signal.removeEventListener("abort", onAbort);
      socket.removeAllListeners();
      socket.on("error", () => undefined);
      socket.close();
      end();
    };
    const onAbort = (): void => finish(() => reject(refuse("CAUSEWAY_TIMEOUT", "it did not answer in time")));
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", (error) => finish(() => reject(refuse("CAUSEWAY_UNREACHABLE", error.message))));
    // Only what the asked server sends arrives on a connected socket.
    socket.connect(server.port, server.host, (error?: Error) => {
      if (error) return finish(() => reject(refuse("CAUSEWAY_UNREACHABLE", error.message)));
      socket.send(query);
      again = setInterval(() => socket.send(query), repeatMs);
    });
    socket.on("message", (bytes) => {
      const answer = decode(bytes);
      // Someone else may guess the port, not the number: what does not fit is not an answer.
      if (isAnswer(answer)) finish(() => resolve(answer));
    });
  });
}

function overTcp(query: Buffer, server: Server, isAnswer: IsAnswer, signal: AbortSignal): Promise<DecodedPacket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server.host, port: server.port, signal });
    let received = Buffer.alloc(0);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.length);
    const fail = (message: string): void => {
      socket.destroy();
      reject(refuse("CAUSEWAY_UNREACHABLE", message));
    };
    socket.on("error", (error) => fail(error.message));
    socket.on("close", () => fail("it closed the connection before its answer was complete"));
    socket.on("connect", () => socket.write(Buffer.concat([length, query])));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const size = received.length < 2 ? Infinity : received.readUInt16BE(0);
      if (received.length < size + 2) return;
      const answer = decode(received.subarray(2, size + 2));
      if (!isAnswer(answer)) return fail("its answer does not fit the question");
      resolve(answer);
      socket.destroy();
    });
  });
}

function decode(bytes: Buffer): DecodedPacket | undefined {
  try {
    return packet.decode(bytes);
  } catch {
    // Not DNS: whoever sent it may not end the wait for the real answer.
    return undefined;
  }
}

function parseServer(text: string): Server {
  const match = /^\[([0-9a-f:.%a-z]+)\](?::(\d{1,5}))?$/i.exec(text) ?? /^([0-9.]+)(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? text;
  const port = Number(match?.[2] ?? 53);
  if (isIP(host.split("%")[0] ?? "") === 0 || port < 1 || port > 65_535) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected a DNS server like 10.0.0.1 or [fd00::1]:53, got ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
  return { host, port };
}

const timeoutMsDefault = 1_500;
const repeatMs = 500;
const datagramBytesMax = 1_232;
const serversMax = 4;
const recordsMax = 64;
const cachedMax = 256;
/** Lifetimes are kept within these, also that of an answer without records. */
const ttlMsMin = 1_000;
const ttlMsMax = 86_400_000;
