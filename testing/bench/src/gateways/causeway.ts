/** Our gateway service as `causeway gateway` composes it, with the bench's certificates and without neighbours. */
import { join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import { createPort, peerOf, weighConnectionMemory } from "@causeway/adapter-h2";
import { nodeCrypto } from "@causeway/adapter-keys";
import { openMailboxStore } from "@causeway/adapter-segments";
import { openGatewayStore } from "@causeway/adapter-sqlite";
import { parseAgentId, parseDomain, parseGatewayUri, refuse, silentLog } from "@causeway/core-base";
import { createGateway } from "@causeway/service-gateway";
import type { IdentityMaterial } from "../certificates.ts";
import { serverSide, signerOf, trustFrom } from "../identity.ts";
import type { LeaseTimes } from "../system.ts";
import { startedByHarness } from "./started-by-harness.ts";

startedByHarness(async (settings) => {
  const { identity, gatewayUri, trustState, directory, workers, times } = settings as {
    identity: IdentityMaterial;
    gatewayUri: string;
    trustState: string;
    directory: string;
    workers: number;
    times: LeaseTimes;
  };
  weighConnectionMemory();
  const trust = trustFrom(trustState);
  const [tlsSigner, recordSigner] = [signerOf(identity, "tls"), signerOf(identity, "record")];
  const alone = (): never => {
    throw refuse("CAUSEWAY_MISUSE", "the bench's gateway has no neighbours");
  };
  const gateway = createGateway(
    {
      gatewayUri: parseGatewayUri(gatewayUri),
      domain: parseDomain(identity.spiffeId.split("/")[2] ?? ""),
      level: 1,
      endpoint: "https://127.0.0.1:1",
      peers: [],
      // The limits of one agent would be what is measured.
      limits: {
        ...times,
        agentMessagesPerSecond: 1e9,
        agentBytesPerSecond: 1e12,
        mailboxMessagesMax: 1e7,
        mailboxSenderMessagesMax: 1e7,
        mailboxBytesMax: 1e11,
        mailboxSenderBytesMax: 1e11,
        mailboxTotalMessagesMax: 1e7,
        mailboxTotalBytesMax: 1e11,
      },
    },
    {
      store: openGatewayStore({ path: join(directory, "gateway.db") }),
      mailboxes: openMailboxStore({ directory: join(directory, "mailboxes") }),
      endOfTurn: setImmediate,
      scheduler: createScheduler(),
      random: systemRandom,
      crypto: nodeCrypto,
      trust,
      identity: {
        spiffeId: parseAgentId(identity.spiffeId),
        // Keys are read once, as a gateway's are.
        tlsSigner: () => tlsSigner,
        recordSigner: () => recordSigner,
      },
      dial: { link: alone, sync: alone },
      log: silentLog,
      callerOf: peerOf,
      disconnect: () => 0,
      onTrustChange: () => () => undefined,
    },
  );
  await gateway.start();
  process.on("message", (message) => {
    if (message === "attachments") process.send?.({ attachments: gateway.status().attachments });
  });
  const port = createPort({
    ...serverSide(identity, trust),
    port: 0,
    workers,
    services: (router) => gateway.routes(router),
    onLink: (link) => gateway.handleLink(link),
  });
  return { url: (await port.start()).url };
});
