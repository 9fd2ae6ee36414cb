/** Generated Connect code on both sides, unchanged, over streams between agents. */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { WeatherService } from "../../../../examples/weather-service/src/gen/weather/v1/weather_pb.js";
import { weather } from "../../../../examples/weather-service/src/weather.ts";
import { callerKey } from "../index.ts";
import { TestNetwork } from "../testing/index.ts";

const stationName = "green.example/weather/station";

async function scene() {
  const network = new TestNetwork();
  const asker = await network.connect("blue.example/travel/asker");
  const station = await network.connect(stationName);
  const client = createClient(WeatherService, asker.transportTo(stationName));
  return { network, asker, station, client };
}

const statusOf = (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (thrown: unknown) => ConnectError.from(thrown).code,
  );

async function listed<T>(values: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const value of values) list.push(value);
  return list;
}

describe("a service of an agent [AGP-22]", () => {
  test("answers all four kinds of calls", async () => {
    const { network, station, client } = await scene();
    station.serve((router) => router.service(WeatherService, weather));
    const run = network.clock;
    expect((await run.until(client.current({ place: "Oslo" }))).celsius).toBe(4);
    const days = await run.until(listed(client.forecast({ place: "Lisbon", days: 3 })));
    expect(days.map(({ day, celsius }) => [day, celsius])).toEqual([
      [1, 20],
      [2, 21],
      [3, 22],
    ]);
    async function* readings() {
      for (const celsius of [3, 4, 8]) yield { celsius };
    }
    expect(await run.until(client.report(readings()))).toMatchObject({ readings: 3, meanCelsius: 5 });
    async function* places() {
      yield { place: "Quito" };
      yield { place: "Oslo" };
    }
    const watched = await run.until(listed(client.watch(places())));
    expect(watched.map(({ place }) => place)).toEqual(["Quito", "Oslo"]);
  });

  test("carries metadata, trailers, status with message, and who calls", async () => {
    const { network, asker, station, client } = await scene();
    const heard: unknown[] = [];
    station.serve((router) =>
      router.service(WeatherService, {
        ...weather,
        current: (request, context) => {
          heard.push(context.values.get(callerKey), context.requestHeader.get("lang"));
          return weather.current(request, context);
        },
      }),
    );
    const facts: (string | null)[] = [];
    const options = {
      headers: { lang: "no" },
      onHeader: (headers: Headers) => void facts.push(headers.get("station")),
      onTrailer: (trailers: Headers) => void facts.push(trailers.get("measured-by")),
    };
    await network.clock.until(client.current({ place: "Oslo" }, options));
    expect(heard).toEqual([asker.id, "no"]);
    expect(facts).toEqual(["oslo", "thermometer"]);
    const failed = await network.clock.until(client.current({ place: "Atlantis" }).catch((thrown: unknown) => thrown));
    expect(failed).toMatchObject({
      code: Code.NotFound,
      rawMessage: "expected one of Lisbon, Oslo, Quito, got Atlantis",
    });
    expect(await statusOf(network.clock.until(listed(client.forecast({ place: "Nowhere", days: 1 }))))).toBe(
      Code.NotFound,
    );
  });

  test("cancels the handler when the caller leaves, and hears of a deadline on both sides", async () => {
    const { network, station, client } = await scene();
    const aborted: string[] = [];
    station.serve((router) =>
      router.service(WeatherService, {
        async *forecast({ place }, context) {
          context.signal.addEventListener("abort", () => aborted.push(place), { once: true });
          for (let day = 1; ; day++) {
            if (context.signal.aborted) return;
            yield { day, celsius: 0 };
            if (place === "Silent") await new Promise(() => undefined);
          }
        },
      }),
    );
    const take = async (): Promise<void> => {
      for await (const { day } of client.forecast({ place: "Endless", days: 0 })) if (day === 3) break;
    };
    await network.clock.until(take());
    await network.clock.advance(1_000);
    expect(aborted).toEqual(["Endless"]);
    const late = listed(client.forecast({ place: "Silent", days: 0 }, { timeoutMs: 5_000 }));
    expect(await statusOf(network.clock.until(late))).toBe(Code.DeadlineExceeded);
    await network.clock.advance(1_000);
    expect(aborted).toEqual(["Endless", "Silent"]);
  });

  test("says what is not served, and who cannot be reached", async () => {
    const { network, asker, station, client } = await scene();
    expect(await statusOf(network.clock.until(client.current({ place: "Oslo" })))).toBe(Code.Unimplemented);
    const stop = station.serve((router) => router.service(WeatherService, { current: weather.current }));
    expect(await statusOf(network.clock.until(client.current({ place: "Oslo" })))).toBeUndefined();
    expect(await statusOf(network.clock.until(listed(client.forecast({ place: "Oslo", days: 1 }))))).toBe(
      Code.Unimplemented,
    );
    stop();
    expect(await statusOf(network.clock.until(client.current({ place: "Oslo" })))).toBe(Code.Unimplemented);
    const nobody = createClient(WeatherService, asker.transportTo("green.example/no/body"));
    expect(await statusOf(network.clock.until(nobody.current({ place: "Oslo" })))).toBe(Code.NotFound);
  });
});
