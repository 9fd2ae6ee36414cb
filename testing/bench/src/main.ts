/** Our gateway beside its peers, in one run. See `--help`. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { BenchDomain } from "./certificates.ts";
import type { Figures } from "./crowd/context.ts";
import { crowdRows } from "./crowd/rows.ts";
import { type Figure, figuresOf, judge } from "./figures.ts";
import { measureSystem, type Sample } from "./measure.ts";
import { type BenchOptions, readOptions, usage } from "./options.ts";
import { Processes } from "./processes.ts";
import { columns, ratiosOf, renderTable, renderVerdicts, summarise } from "./report.ts";
import { measureScale } from "./scale/scale.ts";
import { measureSdk, measureSlimSessions } from "./sdk/rows.ts";
import type { RelaySystem } from "./system.ts";
import { causewaySystem } from "./systems/causeway.ts";
import { linkSystem } from "./systems/link.ts";
import { natsSystem } from "./systems/nats.ts";
import { slimSystem } from "./systems/slim.ts";
import { measureWorkers, workerCounts, workerLines, workerTitles } from "./workers/rows.ts";

process.exitCode = await main();

async function main(): Promise<number> {
  let options: BenchOptions | "help";
  try {
    options = readOptions(process.argv.slice(2));
  } catch (thrown) {
    process.stderr.write(`bench: ${thrown instanceof Error ? thrown.message : String(thrown)}\n\n${usage}`);
    return 2;
  }
  if (options === "help") {
    process.stdout.write(usage);
    return 0;
  }
  const processes = new Processes();
  const workDir = mkdtempSync(join(tmpdir(), "causeway-bench-"));
  try {
    return await run(options, processes, workDir);
  } finally {
    await processes.endAll();
    rmSync(workDir, { recursive: true, force: true });
  }
}

async function run(options: BenchOptions, processes: Processes, workDir: string): Promise<number> {
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const domain = new BenchDomain();
  const all: readonly RelaySystem[] = [causewaySystem(domain), natsSystem(), slimSystem(), linkSystem(domain)];
  const present: { readonly system: RelaySystem; readonly version: string }[] = [];
  const missing: { readonly system: string; readonly reason: string }[] = [];
  let hasFailed = false;
  for (const name of options.systems) {
    const system = all.find((candidate) => candidate.name === name);
    if (system === undefined) continue;
    const prepared = await system.prepare();
    if ("missing" in prepared) missing.push({ system: name, reason: prepared.missing });
    else present.push({ system, version: prepared.version });
  }
  const samples: Sample[] = [];
  const figures: Figure[] = [];
  let facts: Record<string, string> = {};
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    say(`bench: ${what} ...`);
    try {
      await work();
    } catch (thrown) {
      hasFailed = true;
      missing.push({ system: what, reason: thrown instanceof Error ? thrown.message : String(thrown) });
    }
  };
  for (let round = 1; round <= options.rounds; round++) {
    const note = (system: string, values: Figures): void => {
      for (const [name, value] of Object.entries(values)) figures.push({ system, name, round, value });
    };
    for (const { system } of options.rows.includes("relay") ? present : []) {
      await attempt(`round ${round} of ${options.rounds}, relay, ${system.name}`, async () => {
        const result = await measureSystem(system, round, options, processes, workDir);
        samples.push(...result.samples);
        facts = { ...facts, ...result.facts };
      });
    }
    for (const row of crowdRows(options, round)) {
      for (const { system } of present) {
        if (!row.systems.includes(system.name)) continue;
        await attempt(`round ${round} of ${options.rounds}, ${row.name}, ${system.name}`, async () =>
          note(system.name, await row.measure({ system, domain, options, processes, workDir })),
        );
      }
    }
    if (options.rows.includes("sdk")) {
      await attempt(`round ${round} of ${options.rounds}, SDK to SDK`, async () =>
        note("causeway", await measureSdk(processes, workDir, options, round)),
      );
      const slim = present.find(({ system }) => system.name === "slim")?.system;
      if (slim !== undefined) {
        await attempt(`round ${round} of ${options.rounds}, sessions, slim`, async () =>
          note("slim", await measureSlimSessions(slim, processes, workDir, options)),
        );
      }
    }
    for (const workers of options.rows.includes("workers") ? workerCounts : []) {
      await attempt(`round ${round} of ${options.rounds}, ${workers} workers`, async () =>
        note("causeway", await measureWorkers(workers, domain, options, processes, workDir)),
      );
    }
    if (options.rows.includes("scale")) {
      await attempt(`round ${round} of ${options.rounds}, scale`, async () =>
        note("causeway", await measureScale(processes, options)),
      );
    }
  }
  figures.push(...figuresOf(samples));
  const verdicts = judge(figures);
  const rows = summarise(samples);
  const ratios = ratiosOf(rows, "causeway");
  const header = {
    machine: `${cpus()[0]?.model.trim() ?? "unknown CPU"}, ${availableParallelism()} cores, ${process.platform} ${process.arch}, Node ${process.version}`,
    pinning: processes.pinning,
    method: `${options.rounds} rounds, systems in turn in each; ${options.floodMs} ms of flood after ${options.warmUpMs} ms of warm-up, ${options.roundTripMs} ms of round trips; payload bytes without headers; loopback, mutual TLS 1.3, P-256 certificates; while messages are stored, memory that was touched before comes free at the speed of the files; median (min to max)`,
    systems: present.map(({ system, version }) => ({ name: system.name, version, description: system.description })),
    facts,
    missing,
  };
  const relay = rows.length === 0 ? "" : `${renderTable(rows, ratios)}\n`;
  const spread = workerLines(figures);
  const workers = spread.length === 0 ? "" : `${columns([workerTitles, ...spread])}\n`;
  const text = `${renderHeader(header)}\n${relay}${workers}${renderVerdicts(verdicts)}`;
  const json = `${JSON.stringify({ header, verdicts, rows, ratios, samples, figures }, undefined, 2)}\n`;
  if (options.outFile !== undefined) writeFileSync(options.outFile, json);
  if (options.isJson) process.stdout.write(json);
  (options.isJson ? process.stderr : process.stdout).write(`\n${text}`);
  return figures.length === 0 || hasFailed ? 1 : 0;
}

function renderHeader(header: {
  readonly machine: string;
  readonly pinning: string;
  readonly method: string;
  readonly systems: readonly { readonly name: string; readonly version: string; readonly description: string }[];
  readonly facts: Readonly<Record<string, string>>;
  readonly missing: readonly { readonly system: string; readonly reason: string }[];
}): string {
  const lines = [
    `Relay: sender -> one gateway -> receiver, a process each.`,
    `Machine: ${header.machine}; ${header.pinning}.`,
    `Method:  ${header.method}.`,
    ...header.systems.map(({ name, version, description }) => `${`${name}:`.padEnd(10)}${version}; ${description}.`),
    ...Object.entries(header.facts).map(([name, value]) => `${name}: ${value}.`),
    ...header.missing.map(({ system, reason }) => `NOT MEASURED: ${system}: ${reason}.`),
  ];
  return `${lines.join("\n")}\n`;
}
