/** Bounds of the session layer, each with its default and what happens there. */
export interface SessionLimits {
  /** Messages to one agent that it has not confirmed yet; later ones wait at the sender. */
  readonly peerWindow: number;
  /** Their bytes; one message is always let through. */
  readonly peerWindowBytes: number;
  /** Unsettled messages of one lane; more are refused with `CAUSEWAY_FORWARDING_OVERLOADED`. */
  readonly laneQueueMax: number;
  /** Bytes held for sending, and again for receiving; more is refused, or dropped and sent again later. */
  readonly bytesMax: number;
  /** Of these, bytes of bulk that are held for sending. */
  readonly bulkBytesMax: number;
  /** Of these, bytes that one sender may have waiting, half of them as bulk; more is dropped and sent again later. */
  readonly senderBytesMax: number;
  /** Distance between the lowest missing and the highest kept position of a lane; what is beyond is dropped. */
  readonly laneSpanMax: number;
  /** Distance between a channel's floor and its highest number; what is beyond is dropped and sent again later. */
  readonly channelSpanMax: number;
  /** Messages of one sender that are not settled yet, half of them as bulk; more are dropped and sent again later. */
  readonly pendingPerSenderMax: number;
  /** Refusals of one channel that its sender does not know of yet; then nothing more of it is taken. */
  readonly refusalsMax: number;
  /** Ranges of numbers that one acknowledgement lists; a later one lists the rest. */
  readonly ackRangesMax: number;
  /** Channels of one sender that are remembered, one for each of its runs; the one used least recently goes first. */
  readonly channelsPerSenderMax: number;
  /** Lanes of one sender that are remembered; the one used least recently goes first. */
  readonly lanesPerSenderMax: number;
  /** Lanes of one sender that are remembered over a restart. */
  readonly lanesStoredPerSenderMax: number;
  /** Senders that are remembered; the one used least recently goes first. */
  readonly sendersMax: number;
  /** Messages that are being decrypted and handed over; above it reading from the gateway pauses. */
  readonly receivingMax: number;
  /** Their bytes. At eight times either bound messages are dropped; their senders repeat them. */
  readonly receivingBytesMax: number;
  /** Wait before the first repetition while no round trip is measured. */
  readonly retryMsFirst: number;
  /** Least and longest wait before any repetition; in between the measured round trip decides. */
  readonly retryMsMin: number;
  readonly retryMsMax: number;
  /** Shortest wait when the receiver has said that the message is there. */
  readonly receivedRetryMsMin: number;
  /** Transmissions of one message; after the last one its sender only waits. */
  readonly attemptsMax: number;
  /** Later packets that a receiver confirmed before a missing message counts as lost. */
  readonly reorderPacketsMax: number;
}

export const sessionLimits: SessionLimits = {
  peerWindow: 4_096,
  peerWindowBytes: 8_388_608,
  laneQueueMax: 16_384,
  bytesMax: 67_108_864,
  bulkBytesMax: 50_331_648,
  senderBytesMax: 16_777_216,
  laneSpanMax: 16_384,
  channelSpanMax: 65_536,
  pendingPerSenderMax: 8_192,
  refusalsMax: 1_024,
  ackRangesMax: 256,
  channelsPerSenderMax: 16,
  lanesPerSenderMax: 4_096,
  lanesStoredPerSenderMax: 64,
  sendersMax: 4_096,
  receivingMax: 512,
  receivingBytesMax: 33_554_432,
  retryMsFirst: 1_000,
  retryMsMin: 200,
  retryMsMax: 30_000,
  receivedRetryMsMin: 10_000,
  attemptsMax: 64,
  reorderPacketsMax: 8,
};
