/** What the two threads say to each other in their rings. */
import { deserialize, serialize } from "node:v8";
import { copyOf } from "./ring.ts";

/** Kinds of records; 0 is the ring's own. */
export const RecordKind = {
  /** A connection has finished its handshake; payload: its facts. From the worker. */
  opened: 1,
  /** Bytes of a connection, in either direction. */
  bytes: 2,
  /** So many bytes have been written to the connection (value). From the worker. */
  written: 3,
  /** No more bytes will come, or are to be sent. */
  end: 4,
  /** The connection is gone; payload: the reason, when it broke. From the worker. */
  closed: 5,
  /** Cut it. From the main thread. */
  destroy: 6,
  /** Read no more of it for now; read on. From the main thread. */
  pause: 7,
  resume: 8,
  /** A handshake failed; payload: who and why. From the worker. */
  failed: 9,
  /** A connection was dropped because there are too many. From the worker. */
  dropped: 10,
  /** A connection of a source with too many unfinished handshakes was closed; payload: the source. From the worker. */
  handshakeCut: 11,
} as const;

/** What a thread has to know of a connection that another one terminates. */
export interface SocketFacts {
  readonly remoteAddress: string | undefined;
  readonly protocol: string | null;
  readonly isSessionReused: boolean;
  readonly alpnProtocol: string | false | null;
  /** DER of the client's certificates, leaf first, each issued by the next one. */
  readonly chain: readonly Uint8Array[];
  /** RFC 9266. */
  readonly channelBinding: Uint8Array;
  /** DER of the certificate that the server showed. */
  readonly certificate: Uint8Array | undefined;
}

/** Why something of a connection failed, as Node's errors say it. */
export interface Failure {
  readonly message: string;
  readonly code: string | undefined;
  readonly remoteAddress?: string | undefined;
}

export const encodeFacts = (facts: SocketFacts | Failure): Buffer => serialize(facts);

export const decodeFacts = (memory: Buffer, start: number, end: number): SocketFacts =>
  deserialize(copyOf(memory, start, end)) as SocketFacts;

export const decodeFailure = (memory: Buffer, start: number, end: number): Failure =>
  deserialize(copyOf(memory, start, end)) as Failure;
