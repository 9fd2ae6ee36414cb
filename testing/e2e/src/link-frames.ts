/** The frames of causeway.agp.v1 in one direction of an HTTP/2 connection: what is in the DATA of its first stream. */
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

export function linkFrames(http2: Buffer): readonly Buffer[] {
  const isClient = http2.subarray(0, preface.length).toString("latin1") === preface;
  const data: Buffer[] = [];
  for (let at = isClient ? preface.length : 0; at + 9 <= http2.length; ) {
    const end = at + 9 + http2.readUIntBE(at, 3);
    const [type, flags, stream] = [http2[at + 3], http2[at + 4] ?? 0, http2.readUInt32BE(at + 5)];
    if (type === dataFrame && stream === 1) {
      const padding = (flags & paddedFlag) === 0 ? undefined : (http2[at + 9] ?? 0);
      data.push(http2.subarray(at + 9 + (padding === undefined ? 0 : 1), end - (padding ?? 0)));
    }
    at = end;
  }
  const grpc = Buffer.concat(data);
  const frames: Buffer[] = [];
  // A flag, the length, the message.
  for (let at = 0; at + 5 <= grpc.length; ) {
    const end = at + 5 + grpc.readUInt32BE(at + 1);
    if (end > grpc.length) break;
    frames.push(grpc.subarray(at + 5, end));
    at = end;
  }
  return frames;
}

const dataFrame = 0;
const paddedFlag = 8;
