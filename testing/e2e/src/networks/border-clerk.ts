/** An agent of green.example behind a router: answers, echoes, and goes away and comes back when it is told to. */
import { once } from "node:events";
import { type Agent, type ConnectOptions, connect } from "@causeway/agent/node";

const options = JSON.parse(process.argv[2] ?? "{}") as ConnectOptions;
const mail: string[] = [];
let agent = await open(options);
await agent.register({
  name: "Clerk",
  description: "Repeats what it is told",
  version: "1",
  skills: [{ id: "repeat", description: "Repeats what it is told" }],
});
process.stdout.write("ready\n");
await once(process.stdin, "data");
const { token: _, ...again } = options;
agent = await open(again);
await once(process, "SIGTERM");

async function open(how: ConnectOptions): Promise<Agent> {
  const opened = await connect(how);
  opened.onMessage(({ data }) => void mail.push(String(data)));
  opened.onRequest("mail", () => mail);
  opened.onRequest("leave", () => {
    setTimeout(() => void agent.close({ away: true }), 0);
    return "leaving";
  });
  opened.onStream(async (stream) => {
    for await (const bytes of stream) await stream.write(bytes);
    await stream.end();
  });
  return opened;
}
