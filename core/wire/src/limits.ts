/** Bounds of everything that crosses an AGP link (AGP-57). What is over a bound is refused, never cut. */
export const wireLimits = {
  /** Payload of one message. */
  payloadBytesMax: 4_194_304,
  /** A whole frame: the largest payload, its header and the fields around them. */
  frameBytesMax: 4_194_304 + 16_384,
  /** The routing header, unknown fields included. */
  headerBytesMax: 4_096,
  /** Target and source. */
  nameBytesMax: 512,
  messageIdBytes: 16,
  requestIdBytesMax: 16,
  hopTtlMax: 127,
  securityContextBytesMax: 64,
  traceContextBytesMax: 64,
  /** Clear bytes that an MLS private message may carry beside its ciphertext. */
  mlsAuthenticatedDataBytesMax: 1_024,
} as const;
