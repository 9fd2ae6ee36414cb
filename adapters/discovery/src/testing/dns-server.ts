/** A name server for tests: answers from a table, and can lie. */
import { createSocket, type RemoteInfo } from "node:dgram";
import { createServer } from "node:net";
import packet from "dns-packet";

export interface DnsRecord {
  readonly name: string;
  /** As the library names it; SVCB is UNKNOWN_64. */
  readonly type: string;
  readonly ttl?: number;
  readonly data: unknown;
}

export interface TestDnsServer extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** Questions that came, as `TYPE name`. */
  readonly asked: string[];
  records: readonly DnsRecord[];
  /** Sent before the real answer to each question over UDP. */
  noise: (answer: Buffer) => readonly Buffer[];
  /** Answers over UDP are cut, so that the client has to come back over TCP. */
  isCutting: boolean;
}

export async function startDnsServer(records: readonly DnsRecord[]): Promise<TestDnsServer> {
  const udp = createSocket("udp4");
  const answerTo = (query: Buffer, isCut: boolean): Buffer => {
    const { id, questions: [question] = [] } = packet.decode(query);
    const { name = "", type = "A" } = question ?? {};
    server.asked.push(`${type} ${name}`);
    const found = server.records.filter((each) => each.name === name && each.type === type);
    return packet.encode({
      type: "response",
      id: id ?? 0,
      flags: isCut ? packet.TRUNCATED_RESPONSE : 0,
      questions: [{ name, type }],
      answers: isCut ? [] : found.map((each) => ({ class: "IN", ttl: 60, ...each }) as never),
    });
  };
  const tcp = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      const answer = answerTo(chunk.subarray(2), false);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      // In two parts, as a network may deliver them.
      socket.write(length);
      socket.end(answer);
    });
  });
  const server: TestDnsServer = {
    address: "",
    asked: [],
    records,
    noise: () => [],
    isCutting: false,
    async [Symbol.asyncDispose]() {
      await Promise.all([
        new Promise<void>((resolve) => udp.close(() => resolve())),
        new Promise((resolve) => tcp.close(resolve)),
      ]);
    },
  };
  await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
  const { port } = tcp.address() as { port: number };
  udp.on("message", (query: Buffer, from: RemoteInfo) => {
    const answer = answerTo(query, server.isCutting);
    for (const bytes of [...server.noise(answer), answer]) udp.send(bytes, from.port, from.address);
  });
  await new Promise<void>((resolve) => udp.bind(port, "127.0.0.1", resolve));
  return Object.assign(server, { address: `127.0.0.1:${port}` });
}

/** RDATA of a SVCB record with a port. */
export function svcb(priority: number, target: string, port?: number): Buffer {
  const labels = target === "" ? [] : target.split(".");
  return Buffer.concat([
    Buffer.from([priority >> 8, priority & 255]),
    ...labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.from([0]),
    ...(port === undefined ? [] : [Buffer.from([0, 3, 0, 2, port >> 8, port & 255])]),
  ]);
}
