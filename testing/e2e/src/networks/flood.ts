/** Ten thousand GW-DISCOVER datagrams a second to one gateway, each from a port that never answers, until it is ended. */
import { createSocket } from "node:dgram";
import { nodeCrypto } from "@causeway/adapter-keys";
import { encodeDatagramDiscover } from "@causeway/core-attachment";
import { parseAgentId } from "@causeway/core-base";

const [host = "", port = "0"] = process.argv.slice(2);
const agentId = parseAgentId("blue.example/nobody");
const random = (): Uint8Array => nodeCrypto.randomBytes(16);
const requests = Array.from({ length: 100 }, () =>
  encodeDatagramDiscover(nodeCrypto, { agentId, salt: random(), nonce: random() }),
);
const sockets = Array.from({ length: 50 }, () => createSocket("udp4"));
for (const socket of sockets) socket.on("error", () => undefined);
let sent = 0;
const burst = (): void => {
  for (let i = 0; i < perBurst; i++) {
    const request = requests[sent % requests.length] ?? new Uint8Array();
    sockets[sent++ % sockets.length]?.send(request, Number(port), host, () => undefined);
  }
  if (sent === perBurst) process.stdout.write('{"event":"flooding"}\n');
};
const perBurst = 500;
setInterval(burst, 50);
