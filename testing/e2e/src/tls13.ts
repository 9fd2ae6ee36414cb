/** Reads a captured connection of TLS 1.3 with the secrets that an end has logged (RFC 8446, SSLKEYLOGFILE). */
import { createDecipheriv, createHmac } from "node:crypto";

/** Both directions of a connection, as they crossed the wire. */
export interface Capture {
  readonly client: Buffer;
  readonly server: Buffer;
}

export interface Plaintext {
  readonly client: Buffer;
  readonly server: Buffer;
}

/** The version that the server chose, for example 0x0304 for TLS 1.3; undefined when it never answered. */
export function versionOf({ server }: Capture): number | undefined {
  const hello = firstHandshake(server, serverHello);
  if (hello === undefined) return undefined;
  // Version, random, session id, cipher suite, compression.
  let at = 34 + 1 + (hello[34] ?? 0) + 3 + 2;
  while (at + 4 <= hello.length) {
    const length = hello.readUInt16BE(at + 2);
    if (hello.readUInt16BE(at) === supportedVersions) return hello.readUInt16BE(at + 4);
    at += 4 + length;
  }
  return hello.readUInt16BE(0);
}

/** What was said; undefined when the log has no secrets of this connection. Throws when a record does not open. */
export function decrypt(capture: Capture, keyLog: string): Plaintext | undefined {
  const random = firstHandshake(capture.client, clientHello)?.subarray(2, 34).toString("hex");
  const hello = firstHandshake(capture.server, serverHello);
  if (random === undefined || hello === undefined) return undefined;
  const secrets = new Map(
    keyLog.split("\n").flatMap((line) => {
      const [label = "", of, secret = ""] = line.split(" ");
      return of === random ? [[label, Buffer.from(secret, "hex")] as const] : [];
    }),
  );
  const suite = suites[hello.readUInt16BE(34 + 1 + (hello[34] ?? 0))];
  const open = (who: "CLIENT" | "SERVER", bytes: Buffer): Buffer | undefined => {
    const [handshake, traffic] = [`${who}_HANDSHAKE_TRAFFIC_SECRET`, `${who}_TRAFFIC_SECRET_0`].map((label) =>
      secrets.get(label),
    );
    return suite && handshake && traffic && openRecords(bytes, suite, handshake, traffic);
  };
  const [client, server] = [open("CLIENT", capture.client), open("SERVER", capture.server)];
  return client && server && { client, server };
}

interface Suite {
  readonly cipher: "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305";
  readonly keyBytes: number;
  readonly hash: "sha256" | "sha384";
}

const suites: Readonly<Record<number, Suite>> = {
  4865: { cipher: "aes-128-gcm", keyBytes: 16, hash: "sha256" },
  4866: { cipher: "aes-256-gcm", keyBytes: 32, hash: "sha384" },
  4867: { cipher: "chacha20-poly1305", keyBytes: 32, hash: "sha256" },
};

/** The application's bytes of one direction. */
function openRecords(bytes: Buffer, suite: Suite, handshake: Buffer, traffic: Buffer): Buffer {
  const said: Buffer[] = [];
  let held = Buffer.alloc(0);
  let opener = openerOf(suite, handshake);
  for (const { type, header, body } of recordsOf(bytes)) {
    if (type !== applicationData) continue;
    const inner = opener(header, body);
    // Zeros may follow the content type.
    const end = inner.findLastIndex((byte) => byte !== 0);
    const content = inner.subarray(0, end);
    if (inner[end] === applicationData) said.push(content);
    if (inner[end] !== handshakeRecord) continue;
    held = Buffer.concat([held, content]);
    while (held.length >= 4 && held.length >= 4 + held.readUIntBE(1, 3)) {
      if (held[0] === keyUpdate) throw new Error("keys are updated here, which this reader does not follow");
      if (held[0] === finished) opener = openerOf(suite, traffic);
      held = held.subarray(4 + held.readUIntBE(1, 3));
    }
  }
  return Buffer.concat(said);
}

function openerOf({ cipher, keyBytes, hash }: Suite, secret: Buffer): (header: Buffer, body: Buffer) => Buffer {
  const expand = (label: string, length: number): Buffer => {
    const name = Buffer.from(`tls13 ${label}`);
    const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])]);
    return createHmac(hash, secret).update(info).digest().subarray(0, length);
  };
  const [key, iv] = [expand("key", keyBytes), expand("iv", 12)];
  let sequence = 0n;
  return (header, body) => {
    const nonce = Buffer.from(iv);
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ sequence++, 4);
    const options = { authTagLength: tagBytes } as const;
    const decipher = createDecipheriv(cipher as "aes-128-gcm", key, nonce, options);
    decipher.setAAD(header, { plaintextLength: body.length - tagBytes });
    decipher.setAuthTag(body.subarray(-tagBytes));
    return Buffer.concat([decipher.update(body.subarray(0, -tagBytes)), decipher.final()]);
  };
}

function* recordsOf(
  bytes: Buffer,
): Generator<{ readonly type: number; readonly header: Buffer; readonly body: Buffer }> {
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    // Cut off when the connection ended.
    if (end > bytes.length) return;
    yield { type: bytes[at] ?? 0, header: bytes.subarray(at, at + 5), body: bytes.subarray(at + 5, end) };
    at = end;
  }
}

/** The body of the hello that a direction begins with. */
function firstHandshake(bytes: Buffer, type: number): Buffer | undefined {
  for (const record of recordsOf(bytes)) {
    if (record.type !== handshakeRecord || record.body[0] !== type) return undefined;
    return record.body.subarray(4, 4 + record.body.readUIntBE(1, 3));
  }
  return undefined;
}

const tagBytes = 16;
const [handshakeRecord, applicationData] = [22, 23];
const [clientHello, serverHello, finished, keyUpdate] = [1, 2, 20, 24];
const supportedVersions = 43;
