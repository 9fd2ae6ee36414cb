/** `node main.ts NAME TOKEN GATEWAY REGISTRY DATA_DIR`: a travel guide on the network until it is stopped. */
import { connect } from "@causeway/agent/node";

const [name = "", token = "", gateway = "", registry = "", dataDir = ""] = process.argv.slice(2);
const agent = await connect({ name, dataDir, gateway, registry, ...(token !== "" && { token }) });
const heard: string[] = [];

agent.onRequest("tip", (request) => `For ${String(request.data)}: go early, walk, and try the small places.`);
agent.onRequest("itinerary", async function* (request) {
  for (const part of ["morning: the market", "noon: the river", "evening: the old town"])
    yield `${String(request.data)}, ${part}`;
});
agent.onRequest("follow", async (request) => {
  await agent.subscribe(String(request.data), (publication) => void heard.push(String(publication.data)));
  return "following";
});
agent.onRequest("heard", () => heard);

await agent.register({
  name: "Travel guide",
  description: "Knows what to see and do in cities and plans a day of sightseeing.",
  version: "1.0.0",
  skills: [
    {
      id: "sightseeing",
      description: "Suggests sights, walks and restaurants and plans a day in a city",
      tags: ["travel"],
    },
  ],
});
process.send?.({ ready: true, url: agent.id });

const stop = () => void agent.close().then(() => process.exit(0));
process.once("SIGTERM", stop).once("SIGINT", stop).once("disconnect", stop);
