/** Message ids: UUIDv7 (RFC 9562), 16 bytes, time-ordered, unique for each source (AAP-70). */
import type { Random, UnixMs } from "@causeway/core-base";

/** A fresh message id. */
export function newMessageId(random: Random, now: UnixMs): Uint8Array {
  const id = new Uint8Array(16);
  id.set(random.bytes(10), 6);
  let ms = Math.max(0, Math.floor(now));
  for (let i = 5; i >= 0; i--) {
    id[i] = ms % 256;
    ms = Math.floor(ms / 256);
  }
  id[6] = 0x70 | ((id[6] as number) & 0x0f);
  id[8] = 0x80 | ((id[8] as number) & 0x3f);
  return id;
}

/** When a UUIDv7 was made, by its maker's clock. */
export function messageIdUnixMs(id: Uint8Array): UnixMs {
  let ms = 0;
  for (let i = 0; i < 6; i++) ms = ms * 256 + (id[i] ?? 0);
  return ms as UnixMs;
}
