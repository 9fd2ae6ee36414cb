/**
 * Bytes of exactly `length` with the public framing of an MLS private message (RFC 9420 section 6), which is all of it
 * that a gateway reads. The rest stands for ciphertext.
 */
export function privateMessage(length: number): Uint8Array {
  // Where the length of the ciphertext needs one more byte, the encrypted sender data is a byte longer.
  for (const senderDataBytes of [16, 17, 18]) {
    const head = [...start, senderDataBytes, ...Array.from({ length: senderDataBytes }, () => 0x5a)];
    for (const { lengthBytes, min, max, mark } of lengthForms) {
      const body = length - head.length - lengthBytes;
      if (body < Math.max(min, ciphertextBytesMin) || body > max) continue;
      const prefix = Array.from(
        { length: lengthBytes },
        (_, i) => Math.floor(body / 256 ** (lengthBytes - 1 - i)) % 256,
      );
      const message = new Uint8Array(length).fill(0x61);
      message.set([...head, (prefix[0] ?? 0) | mark, ...prefix.slice(1)]);
      return message;
    }
  }
  throw new Error(`expected at least ${start.length + 18 + ciphertextBytesMin} bytes of payload, got ${length}`);
}

/** Version 1, private message, group id, epoch 1, application, no authenticated data. */
const start = [0, 1, 0, 2, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0];

/** Lengths of variable-size vectors (RFC 9420 section 2.1.2), each in its shortest form. */
const lengthForms = [
  { lengthBytes: 1, min: 0, max: 63, mark: 0 },
  { lengthBytes: 2, min: 64, max: 16_383, mark: 0x40 },
  { lengthBytes: 4, min: 16_384, max: 2 ** 30 - 1, mark: 0x80 },
] as const;

const ciphertextBytesMin = 16;
