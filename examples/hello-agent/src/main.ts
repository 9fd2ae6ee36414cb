/** Two agents meet. `GREETER_TOKEN` and `ASKER_TOKEN` come from `causeway cert token NAME`, the rest from `causeway status`. */
import assert from "node:assert/strict";
import { connect } from "@causeway/agent/node";

const setting = (name: string): string => process.env[name] ?? assert.fail(`set ${name}`);
const join = (role: string) =>
  connect({
    name: setting(`${role}_NAME`),
    token: setting(`${role}_TOKEN`),
    gateway: setting("GATEWAY"),
    registry: setting("REGISTRY"),
    dataDir: `${setting("DATA_DIR")}/${role.toLowerCase()}`,
  });
await using greeter = await join("GREETER");
greeter.onRequest("greet", (request) => ({ greeting: `Hello, ${request.content.text()}!` }));
const skills = [{ id: "greet", description: "Greets people politely by their name" }];
await greeter.register({ name: "Greeter", description: "Greets people", version: "1.0.0", skills });

await using asker = await join("ASKER");
const { matches } = await asker.discover("someone who greets people");
const target = matches[0]?.agentId ?? assert.fail("found nobody");
const answer = await asker.request(target, { method: "greet", data: "Ada" });
assert.deepEqual(answer.data, { greeting: "Hello, Ada!" });
process.stdout.write(`${JSON.stringify(answer.data)}\n`);
