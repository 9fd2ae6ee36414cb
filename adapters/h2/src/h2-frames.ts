/**
 * HTTP/2 frames (RFC 9113) as far as a connection with one link needs them: their layout, and those that a gateway
 * sends. Headers are written without compression, and those that arrive are never decompressed.
 */

export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const FrameFlag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

export const Setting = {
  initialWindowSize: 4,
  maxConcurrentStreams: 3,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  enablePush: 2,
  /**
   * Ours (docs/adr/0040). A client that sends it with value 1 promises: this connection carries one stream, which asks
   * for a Link with the usual headers and no deadline, in one HEADERS frame. Servers that do not know it ignore it.
   */
  onlyLink: 0xca05,
} as const;

/** Codes of RST_STREAM and GOAWAY. */
export const H2Error = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  enhanceYourCalm: 11,
} as const;

/** What every client sends first. */
export const clientPreface: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
export const frameHeaderBytes = 9;
/** Largest frame that this side takes, the default of RFC 9113. */
export const frameBytesTaken = 16_384;
export const windowMax = 0x7fffffff;
export const defaultWindow = 65_535;

/** Writes a frame header at `at`. */
export function writeFrameHeader(into: Uint8Array, at: number, length: number, type: number, flags: number): void {
  into[at] = length >>> 16;
  into[at + 1] = length >>> 8;
  into[at + 2] = length;
  into[at + 3] = type;
  into[at + 4] = flags;
  // The only stream of a connection with one link is the first.
  const stream = type === FrameType.data || type === FrameType.headers || type === FrameType.rstStream ? 1 : 0;
  into[at + 5] = into[at + 6] = into[at + 7] = 0;
  into[at + 8] = stream;
}

/** A frame of its own. */
export function encodeH2Frame(type: number, flags: number, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(frameHeaderBytes + payload.length);
  writeFrameHeader(frame, 0, payload.length, type, flags);
  frame.set(payload, frameHeaderBytes);
  return frame;
}

export function encodeSettings(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 6);
  settings.forEach(([id, value], i) => {
    payload.writeUInt16BE(id, i * 6);
    payload.writeUInt32BE(value, i * 6 + 2);
  });
  return encodeH2Frame(FrameType.settings, 0, payload);
}

/** WINDOW_UPDATE of the connection (0) or of the stream (1). */
export function encodeWindowUpdate(increment: number, stream: 0 | 1): Buffer {
  const frame = encodeH2Frame(FrameType.windowUpdate, 0, uint32(increment));
  frame[frameHeaderBytes - 1] = stream;
  return frame;
}

export function encodeReset(code: number): Buffer {
  return encodeH2Frame(FrameType.rstStream, 0, uint32(code));
}

/** GOAWAY that names the link's stream as taken. */
export function encodeGoaway(code: number, text: Uint8Array): Buffer {
  return encodeH2Frame(FrameType.goaway, 0, Buffer.concat([uint32(1), uint32(code), text]));
}

/** HEADERS with literal fields; ":status" has to be "200". */
export function encodeHeaders(fields: Readonly<Record<string, string>>, isEnd: boolean): Buffer {
  const block = Object.entries(fields).map(([name, value]) =>
    // RFC 7541: 0x88 is ":status: 200" of the static table; 0 begins a literal field that nobody indexes.
    name === ":status" ? Buffer.from([0x88]) : Buffer.concat([Buffer.of(0), hpackText(name), hpackText(value)]),
  );
  const flags = FrameFlag.endHeaders | (isEnd ? FrameFlag.endStream : 0);
  return encodeH2Frame(FrameType.headers, flags, Buffer.concat(block));
}

/** RFC 7541 section 5.2, without Huffman code. */
function hpackText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const length: number[] = [];
  let rest = bytes.length;
  if (rest < 127) {
    length.push(rest);
  } else {
    length.push(127);
    for (rest -= 127; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
