/**
 * Sizes of ciphertexts (AGP-52). Content is padded up to one of a fixed set of sizes: powers of two up to 4 KiB, then
 * eight steps for each doubling, so that padding costs at most an eighth of a larger message.
 */

/** Smallest padded size in bytes. */
export const bucketBytesMin = 256;
const fineFrom = 4096;
const stepsPerOctave = 8;

/** The smallest bucket that holds `length` bytes. */
export function bucketFor(length: number): number {
  let size = bucketBytesMin;
  while (size < length && size < fineFrom) size *= 2;
  if (size >= length) return size;
  while (size * 2 < length) size *= 2;
  const step = size / stepsPerOctave;
  return size + Math.ceil((length - size) / step) * step;
}

/**
 * Bytes that MLS adds to application data inside the padded content: a length of up to four bytes and a signature
 * with its length (RFC 9420 section 6.3.1).
 */
export const applicationOverheadBytes = 4 + 2 + 64;
