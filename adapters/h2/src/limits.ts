import { wireLimits } from "@causeway/core-wire";

/** Bounds of one port or of one dialled connection. */
export interface H2Limits {
  /** TLS connections at once. Further ones are closed before the handshake. */
  readonly sessionsMax: number;
  /** Unfinished TLS handshakes of one IPv4 address or IPv6 /64 network. When more than half of `sessionsMax` are taken, each new connection closes the oldest of a source that has more. */
  readonly handshakesPerSourceMax: number;
  /** TLS connections at once of one certified identity. Further ones are refused with CAUSEWAY_LIMIT_COUNT. */
  readonly sessionsPerPeerMax: number;
  /** HTTP/2 streams at once on one connection (SETTINGS_MAX_CONCURRENT_STREAMS). */
  readonly streamsPerSessionMax: number;
  /** Bytes of one request's header list; larger ones are answered with 431. */
  readonly headerListBytesMax: number;
  /** Header fields of one request. */
  readonly headerFieldsMax: number;
  /** Bytes of one frame on a Link: a 4 MiB message and its routing header. Larger ones close the link. */
  readonly frameBytesMax: number;
  /** Bytes of one request or response message of every other service. */
  readonly messageBytesMax: number;
  /** Flow-control window of one stream: what a peer may send ahead of a paused Link. */
  readonly streamWindowBytes: number;
  /** Flow-control window of one connection; larger than a stream's, so that a paused Link does not stop its neighbours. */
  readonly sessionWindowBytes: number;
  /** Bytes queued on a Link above which `send` answers false. */
  readonly queueHighWaterBytes: number;
  /** Bytes queued on a Link at which it is closed with CAUSEWAY_FORWARDING_OVERLOADED. */
  readonly queueBytesMax: number;
  /** Memory of one HTTP/2 session in MB beyond which it gets no new stream. */
  readonly sessionMemoryMbMax: number;
  /** Invalid frames of one session before it is closed. */
  readonly invalidFramesMax: number;
  /** Streams that one session may have refused before it is closed. */
  readonly rejectedStreamsMax: number;
  /** Streams that a peer may reset in a burst, and each second after it (rapid reset). */
  readonly streamResetBurst: number;
  readonly streamResetsPerSecond: number;
  /** Entries of one SETTINGS frame. */
  readonly settingsEntriesMax: number;
  /** Unanswered PINGs of our own before the session is closed. */
  readonly outstandingPingsMax: number;
  /** Frames beside DATA that a connection with one link may bring in a burst, and each second after it. */
  readonly controlFrameBurst: number;
  readonly controlFramesPerSecond: number;
  /** Answers to such frames that the client has not read. */
  readonly controlFramesOpenMax: number;
  /** From accepted TCP connection to finished TLS handshake. */
  readonly handshakeMs: number;
  /** From dialling to a usable connection. */
  readonly dialMs: number;
  /** Distance of HTTP/2 PINGs on an open connection. */
  readonly pingEveryMs: number;
  /** Wait for the answer to a PING before the connection counts as lost. */
  readonly pingTimeoutMs: number;
  /** A connection without a stream is closed after this time. */
  readonly idleMs: number;
  /** Time that a closing Link has to hand over what is queued and its status. */
  readonly closeMs: number;
}

/** Default bounds. */
export const h2Limits: H2Limits = {
  sessionsMax: 20_000,
  handshakesPerSourceMax: 64,
  sessionsPerPeerMax: 64,
  streamsPerSessionMax: 128,
  headerListBytesMax: 16_384,
  headerFieldsMax: 64,
  frameBytesMax: wireLimits.frameBytesMax,
  messageBytesMax: wireLimits.frameBytesMax,
  streamWindowBytes: 4_194_304,
  sessionWindowBytes: 16_777_216,
  queueHighWaterBytes: 1_048_576,
  queueBytesMax: 16_777_216,
  sessionMemoryMbMax: 64,
  invalidFramesMax: 100,
  rejectedStreamsMax: 100,
  streamResetBurst: 200,
  streamResetsPerSecond: 33,
  settingsEntriesMax: 32,
  outstandingPingsMax: 10,
  controlFrameBurst: 1_000,
  controlFramesPerSecond: 200,
  controlFramesOpenMax: 1_000,
  handshakeMs: 10_000,
  dialMs: 10_000,
  pingEveryMs: 20_000,
  pingTimeoutMs: 15_000,
  idleMs: 900_000,
  closeMs: 5_000,
};

/** Defaults with the given bounds in their place. */
export function limitsWith(given: Partial<H2Limits> | undefined): H2Limits {
  return given === undefined ? h2Limits : { ...h2Limits, ...given };
}
