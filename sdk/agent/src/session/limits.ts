/** Bounds of the session layer, each with its default and what happens there. */
export interface SessionLimits {
  /** Messages to one agent that it has not confirmed yet; later ones wait at the sender. */
  readonly peerWindow: number;
  /** Their bytes; one message is always let through. */
  readonly peerWindowBytes: number;
  /** Messages of one lane that are under way at once; later ones wait at the sender. */
  readonly laneWindow: number;
  /** Unsettled messages of one lane; more are refused with `CAUSEWAY_FORWARDING_OVERLOADED`. */
  readonly laneQueueMax: number;
  /** Bytes held for sending, and again for receiving; more is refused, or dropped and sent again later. */
  readonly bytesMax: number;
  /** Of these, bytes that one sender may have waiting; more is dropped and sent again later. */
  readonly senderBytesMax: number;
  /** Distance between the lowest missing and the highest kept position of a lane; what is beyond is dropped. */
  readonly laneSpanMax: number;
  /** Messages of one sender that are not settled yet; more are dropped and sent again later. */
  readonly pendingPerSenderMax: number;
  /** Message ids of one sender that are remembered; the oldest settled one goes first. */
  readonly rememberedPerSenderMax: number;
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
  /** Least wait before the first and longest wait before any repetition; in between the measured round trip decides. */
  readonly retryMsMin: number;
  readonly retryMsMax: number;
  /** Shortest wait when the receiver has said that the message is there. */
  readonly receivedRetryMsMin: number;
}

export const sessionLimits: SessionLimits = {
  peerWindow: 64,
  peerWindowBytes: 8_388_608,
  laneWindow: 64,
  laneQueueMax: 1_024,
  bytesMax: 67_108_864,
  senderBytesMax: 16_777_216,
  laneSpanMax: 1_024,
  pendingPerSenderMax: 1_024,
  rememberedPerSenderMax: 4_096,
  lanesPerSenderMax: 256,
  lanesStoredPerSenderMax: 64,
  sendersMax: 4_096,
  receivingMax: 512,
  receivingBytesMax: 33_554_432,
  retryMsMin: 1_000,
  retryMsMax: 30_000,
  receivedRetryMsMin: 10_000,
};
