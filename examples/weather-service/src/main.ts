/** A service and its client, as agents. Tokens come from `causeway cert token NAME`, the rest from `causeway status`. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "@causeway/agent/node";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { WeatherService } from "./gen/weather/v1/weather_pb.js";
import { weather } from "./weather.ts";

const setting = (name: string): string => process.env[name] ?? assert.fail(`set ${name}`);
const join = (role: string) =>
  connect({
    name: setting(`${role}_NAME`),
    token: setting(`${role}_TOKEN`),
    gateway: setting(`${role}_GATEWAY`),
    registry: setting(`${role}_REGISTRY`),
    dataDir: `${setting("DATA_DIR")}/${role.toLowerCase()}`,
  });

await using station = await join("STATION");
station.serve((router) => router.service(WeatherService, weather));
const skills = [{ id: "weather", description: "Measures and forecasts the weather" }];
await station.register({ name: "Station", description: "Weather station", version: "1.0.0", skills });

await using asker = await join("ASKER");
// A record that is new takes a moment to reach the other domain.
while ((await asker.lookup(setting("STATION_NAME"))) === undefined) await pause(100);
const client = createClient(WeatherService, asker.transportTo(setting("STATION_NAME"), { timeoutMs: 20_000 }));

// Unary, with metadata both ways.
const facts: Record<string, string | null> = {};
const current = await client.current(
  { place: "Oslo" },
  {
    onHeader: (headers) => (facts["station"] = headers.get("station")),
    onTrailer: (trailers) => (facts["measuredBy"] = trailers.get("measured-by")),
  },
);
assert.deepEqual({ celsius: current.celsius, ...facts }, { celsius: 4, station: "oslo", measuredBy: "thermometer" });

// Server streaming.
const forecast: number[] = [];
for await (const { celsius } of client.forecast({ place: "Lisbon", days: 3 })) forecast.push(celsius);
assert.deepEqual(forecast, [20, 21, 22]);

// Client streaming.
async function* readings() {
  for (const celsius of [3, 4, 8]) yield { celsius };
}
const { readings: count, meanCelsius } = await client.report(readings());
assert.deepEqual({ count, meanCelsius }, { count: 3, meanCelsius: 5 });

// Bidirectional: the second place is named only after the first answer came.
const answers: string[] = [];
let answered: (place: string) => void = () => undefined;
async function* places() {
  yield { place: "Quito" };
  yield { place: await new Promise<string>((resolve) => (answered = resolve)) };
}
for await (const { place, celsius } of client.watch(places())) {
  answers.push(`${place} ${celsius}`);
  if (answers.length === 1) answered("Oslo");
}
assert.deepEqual(answers, ["Quito 15", "Oslo 4"]);

// Status and deadline.
const failure = async (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (thrown: unknown) => ConnectError.from(thrown).code,
  );
assert.equal(await failure(client.current({ place: "Atlantis" })), Code.NotFound);

process.stdout.write(`${JSON.stringify({ current: current.celsius, forecast, meanCelsius, answers })}\n`);
