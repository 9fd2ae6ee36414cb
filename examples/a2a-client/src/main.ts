/** `main.ts URL TEXT`: sends one message to an A2A agent and prints the events of its task as they come. */
import { randomUUID } from "node:crypto";
import { type Message, Role, TaskState } from "@a2a-js/sdk";
import { ClientFactory } from "@a2a-js/sdk/client";

const [url = "", text = "Book me a hotel room in Tokyo"] = process.argv.slice(2);
if (!URL.canParse(url)) throw new TypeError("expected the URL of an A2A agent and a text: main.ts URL TEXT");
const client = await new ClientFactory().createFromUrl(url);
const card = await client.getAgentCard();
process.stdout.write(`${card.name}: ${card.description}\n`);

const message: Message = {
  messageId: randomUUID(),
  contextId: "",
  taskId: "",
  role: Role.ROLE_USER,
  parts: [{ content: { $case: "text", value: text }, metadata: undefined, filename: "", mediaType: "text/plain" }],
  metadata: undefined,
  extensions: [],
  referenceTaskIds: [],
};
for await (const { payload } of client.sendMessageStream({
  message,
  tenant: "",
  configuration: undefined,
  metadata: undefined,
})) {
  if (payload?.$case === "task") process.stdout.write(`task ${payload.value.id}\n`);
  if (payload?.$case === "message") process.stdout.write(`${textOf(payload.value.parts)}\n`);
  if (payload?.$case === "artifactUpdate")
    process.stdout.write(`artifact: ${textOf(payload.value.artifact?.parts ?? [])}\n`);
  if (payload?.$case === "statusUpdate") process.stdout.write(`${TaskState[payload.value.status?.state ?? 0]}\n`);
}

function textOf(parts: Message["parts"]): string {
  return parts.map((part) => (part.content?.$case === "text" ? part.content.value : "")).join(" ");
}
