/** `node main.ts [PORT]`: serves the hotel agent on the loopback interface and prints its URL. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { AGENT_CARD_PATH, AgentCard } from "@a2a-js/sdk";
import { DefaultRequestHandler, InMemoryTaskStore } from "@a2a-js/sdk/server";
import { agentCardHandler, jsonRpcHandler, restHandler, UserBuilder } from "@a2a-js/sdk/server/express";
import express from "express";
import { HotelExecutor } from "./hotels.ts";

const app = express();
const server = createServer(app);
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const requestHandler = new DefaultRequestHandler(cardFor(url), new InMemoryTaskStore(), new HotelExecutor());
  app.use(`/${AGENT_CARD_PATH}`, agentCardHandler({ agentCardProvider: requestHandler }));
  app.use("/jsonrpc", jsonRpcHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
  app.use("/rest", restHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
  process.stdout.write(`${url}\n`);
  process.send?.({ ready: true, url });
});
// Whoever started it over IPC and is gone does not leave it behind.
process.once("disconnect", () => process.exit(0));

function cardFor(url: string): AgentCard {
  return AgentCard.fromJSON({
    name: "Hotel desk",
    description: "Finds and books hotel rooms for travellers.",
    version: "1.0.0",
    provider: { organization: "Green Travel", url: "https://green.example" },
    supportedInterfaces: [
      { url: `${url}/jsonrpc`, protocolBinding: "JSONRPC", protocolVersion: "1.0" },
      { url: `${url}/rest`, protocolBinding: "HTTP+JSON", protocolVersion: "1.0" },
    ],
    capabilities: { streaming: true },
    defaultInputModes: ["text/plain"],
    defaultOutputModes: ["text/plain"],
    skills: [
      {
        id: "book-hotel",
        name: "Book a hotel",
        description: "Books a hotel room in Tokyo, Paris or Lisbon for given nights.",
        tags: ["travel", "hotel", "accommodation"],
        examples: ["Book me a hotel room in Tokyo for two nights"],
      },
    ],
  });
}
