/** The service, as generated code wants it. Nothing here knows of agents, gateways or encryption. */
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { WeatherService } from "./gen/weather/v1/weather_pb.js";

const celsiusOf: Readonly<Record<string, number>> = { Lisbon: 19, Oslo: 4, Quito: 15 };

function celsius(place: string): number {
  const known = celsiusOf[place];
  if (known !== undefined) return known;
  throw new ConnectError(`expected one of ${Object.keys(celsiusOf).join(", ")}, got ${place}`, Code.NotFound);
}

export const weather: ServiceImpl<typeof WeatherService> = {
  current: ({ place }, context) => {
    context.responseHeader.set("station", place.toLowerCase());
    context.responseTrailer.set("measured-by", "thermometer");
    return { celsius: celsius(place) };
  },
  async *forecast({ place, days }) {
    for (let day = 1; day <= days; day++) yield { day, celsius: celsius(place) + day };
  },
  report: async (readings) => {
    const all: number[] = [];
    for await (const reading of readings) all.push(reading.celsius);
    return { readings: all.length, meanCelsius: all.reduce((sum, each) => sum + each, 0) / all.length };
  },
  async *watch(places) {
    for await (const { place } of places) yield { place, celsius: celsius(place) };
  },
};
