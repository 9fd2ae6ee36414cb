import { refuse } from "@causeway/core-base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createOutput, type Output } from "../terminal/output.ts";
import { askAll, showAsked } from "./asking.ts";

const services = ["gateway gw1", "gateway gw2", "registry"].map((service) => ({ service }));
const down = refuse("CAUSEWAY_UNREACHABLE", "expected https://127.0.0.1:1 to answer, got nothing", {
  details: { address: "127.0.0.1:1" },
});
const wrong = refuse("CAUSEWAY_CONFIG_INVALID", "expected a number from 1 to 5, got 6");

/** Every service answers with its name, except those that fail. */
const asked = (failing: Readonly<Record<string, unknown>>, of = services) =>
  askAll(of, async ({ service }) => {
    if (failing[service] !== undefined) throw failing[service];
    return service;
  });

let written: string[] = [];
const recorder = (json: boolean): Output => ({
  ...createOutput({ json }),
  json,
  result: (value, render) => void written.push(`out ${json ? JSON.stringify(value) : render(value)}`),
  problem: (text) => void written.push(`err ${text}`),
});
beforeEach(() => {
  written = [];
});
afterEach(() => {
  process.exitCode = undefined;
});

test("answers keep the order of the services, and failures are named", async () => {
  expect(await asked({ "gateway gw2": down })).toMatchObject({
    answers: ["gateway gw1", "registry"],
    failures: [
      {
        service: "gateway gw2",
        error: { code: "CAUSEWAY_UNREACHABLE", message: `gateway gw2: ${down.message}`, details: down.details },
      },
    ],
  });
});

test("what is no error of ours is told in its own words", async () => {
  const { failures } = await asked({ registry: new Error("socket hang up") });
  expect(failures).toMatchObject([{ error: { code: "CAUSEWAY_INTERNAL", message: "registry: socket hang up" } }]);
});

test("the only one that was asked fails with its error and its name", async () => {
  await expect(asked({ registry: down }, [{ service: "registry" }])).rejects.toMatchObject({
    code: "CAUSEWAY_UNREACHABLE",
    message: `registry: ${down.message}`,
  });
});

test("what every one refuses for the caller to correct is thrown, and everything else is collected", async () => {
  const all = (error: unknown) => Object.fromEntries(services.map(({ service }) => [service, error]));
  await expect(asked(all(wrong))).rejects.toMatchObject({ message: `gateway gw1: ${wrong.message}` });
  expect(await asked({ ...all(wrong), registry: down })).toMatchObject({ answers: [], failures: [{}, {}, {}] });
  expect(await asked(all(down))).toMatchObject({ answers: [], failures: [{}, {}, {}] });
});

test("with all answers there is the result alone, and the exit code stays", async () => {
  const all = await asked({});
  showAsked(recorder(false), all, { names: all.answers }, ({ names }) => names.join(", "));
  expect([written, process.exitCode]).toEqual([["out gateway gw1, gateway gw2, registry"], undefined]);
});

test("with a failure the exit code is 1, and both are written", async () => {
  const some = await asked({ "gateway gw1": down });
  showAsked(recorder(false), some, { names: some.answers }, ({ names }) => names.join(", "));
  expect(process.exitCode).toBe(1);
  expect(written).toEqual([
    "out gateway gw2, registry",
    expect.stringMatching(/^err causeway: gateway gw1: .* \[CAUSEWAY_UNREACHABLE\]/),
  ]);
});

test("without an answer nothing is said to be empty, and JSON is there all the same", async () => {
  const none = await asked(Object.fromEntries(services.map(({ service }) => [service, down])));
  const empty = () => "nothing is stored";
  showAsked(recorder(false), none, { boxes: [] }, empty);
  expect(written.map((line) => line.slice(0, 3))).toEqual(["err", "err", "err"]);
  written = [];
  showAsked(recorder(true), none, { boxes: [] }, empty);
  expect(JSON.parse(written[0]?.slice(4) ?? "")).toMatchObject({
    ok: false,
    boxes: [],
    failures: services.map(({ service }) => ({ service, error: { code: "CAUSEWAY_UNREACHABLE" } })),
  });
});
