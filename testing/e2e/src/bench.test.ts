/** `causeway bench` against a real domain: what it counts is there, and what it prints can be read. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorld, type World } from "./world.ts";

const program = fileURLToPath(new URL("../../../apps/cli/src/main.ts", import.meta.url));
const run = promisify(execFile);
const short = ["bench", "--domain", "blue.example", "--seconds", "1"];
let world: World;

beforeAll(async () => {
  world = await startWorld();
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

const causeway = (...args: readonly string[]) =>
  run(process.execPath, ["--disable-warning=ExperimentalWarning", program, ...args, "--home", world.home.directory]);

test("as JSON: percentiles in order, and messages that arrived", { timeout: 120_000 }, async () => {
  const { stdout } = await causeway(...short, "--json", "--pairs", "2", "--size", "100");
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({ domain: "blue.example", pairs: 2, size: 100, seconds: 1, outstanding: 64 });
  expect(report.gateways.join()).toMatch(/^spiffe:\/\/blue\.example\/gateway\//);
  const { count, minMicros, p50Micros, p90Micros, p99Micros, maxMicros, buckets } = report.roundTrip;
  const points = [0, minMicros, p50Micros, p90Micros, p99Micros, maxMicros];
  expect(points).toEqual(points.toSorted((a, b) => a - b));
  expect(count).toBeGreaterThan(0);
  expect(buckets.reduce((sum: number, bucket: { readonly count: number }) => sum + bucket.count, 0)).toBe(count);
  for (const rate of [report.bestEffort, report.acknowledged]) {
    expect(rate.arrived).toBeGreaterThan(0);
    expect(rate.messagesPerSecond).toBeGreaterThan(0);
    expect(rate.bytesPerSecond).toBe(rate.messagesPerSecond * 100);
    expect(rate.sent).toBeGreaterThanOrEqual(rate.arrived);
  }
  // Nothing is lost or refused on the way of a message that is acknowledged.
  expect(report.acknowledged.lost).toBe(0);
  expect(report.acknowledged.refused).toEqual({});
});

test("for people: a table and a plot in plain characters, and nothing on standard error but progress", {
  timeout: 120_000,
}, async () => {
  const { stdout, stderr } = await causeway(...short);
  expect(stdout).toMatch(/^[ -~\n]*$/);
  expect(stdout).toMatch(/requests +least +p50 +p90 +p99 +most\n[\d,]+( +[\d.]+){5}\n/);
  expect(stdout).toMatch(/ms \|#+ +[\d.]+ %/);
  for (const name of ["best-effort", "acknowledged"])
    expect(stdout).toMatch(new RegExp(`^${name} +[\\d,]+ +[\\d.]+ +[\\d,]+ +[\\d,]+ +-$`, "m"));
  for (const line of stderr.split("\n")) expect(line).toMatch(/^(\.\.\. .*\(\d+ s\))?$/);
});

test("what cannot be measured is refused with the range", { timeout: 60_000 }, async () => {
  await expect(causeway("bench", "--domain", "blue.example", "--size", "0")).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining("expected a whole number from 1 to 1048576 for --size"),
  });
});

test("ends with 1 and says so when the domain does not answer", { timeout: 120_000 }, async () => {
  await world.supervisor[Symbol.asyncDispose]();
  await expect(causeway(...short, "--json")).rejects.toMatchObject({
    code: 1,
    stdout: expect.stringContaining('"code":"CAUSEWAY_UNREACHABLE"'),
  });
});
