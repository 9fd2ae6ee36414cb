/** A process with many ends, driven by the harness over IPC. */
import { openEnd as openCauseway } from "./causeway.ts";
import type { CrowdEnd, OpenCrowdEnd } from "./end.ts";
import { openEnd as openNats } from "./nats.ts";
import type { CrowdCommand } from "./protocol.ts";

const openers: Readonly<Record<string, OpenCrowdEnd>> = { causeway: openCauseway, nats: openNats };

const ends: CrowdEnd[] = [];
let received: number[] = [];
let total = 0;
let isEchoing = false;
let isPinging = false;
let reportEvery = Number.POSITIVE_INFINITY;
let reportAt = Number.POSITIVE_INFINITY;
let sent = 0;
let allowed = 0;
let isFlooding = false;
let isPumping = false;

const report = (message: object): void => void process.send?.(message);

process.on("disconnect", () => process.exit());
process.on("message", (command: CrowdCommand) => {
  handle(command).catch((thrown: unknown) =>
    report({ failed: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) }),
  );
});

async function handle(command: CrowdCommand): Promise<void> {
  switch (command.do) {
    case "open": {
      const open = openers[command.system];
      if (open === undefined) throw new Error(`no system ${command.system}`);
      for (let i = 0; i < command.ends.length; i += dialledAtOnce) {
        const some = await Promise.all(
          command.ends.slice(i, i + dialledAtOnce).map((spec) => open(command.settings, spec)),
        );
        for (const end of some) add(end);
      }
      received = ends.map(() => 0);
      report({ did: "open" });
      return;
    }
    case "prepare":
      for (const end of ends) end.prepareSize(command.size);
      received = ends.map(() => 0);
      total = sent = 0;
      isEchoing = command.isEchoing;
      reportEvery = reportAt = command.reportEvery ?? Number.POSITIVE_INFINITY;
      report({ did: "prepare" });
      return;
    case "ping":
      isPinging = true;
      for (const end of ends) for (let i = 0; i < command.outstanding; i++) end.send();
      return;
    case "flood":
      allowed = command.ahead;
      isFlooding = true;
      pump();
      return;
    case "allow":
      allowed = command.until;
      pump();
      return;
    case "halt":
      for (const i of command.ends) ends[i]?.halt();
      report({ did: "halt" });
      return;
    case "stop":
      isFlooding = isPinging = false;
      report({ did: "stop", sent });
      return;
    case "count":
      report({ did: "count", total, received, at: performance.now() });
  }
}

function add(end: CrowdEnd): void {
  const index = ends.length;
  ends.push(end);
  end.onWritable(pump);
  end.onReceive((count) => {
    received[index] = (received[index] ?? 0) + count;
    total += count;
    if (isEchoing || isPinging) for (let i = 0; i < count; i++) end.send();
    if (total >= reportAt) {
      reportAt = total + reportEvery;
      report({ did: "progress", total });
    }
  });
}

/** The first end publishes until told to wait. */
function pump(): void {
  const [publisher] = ends;
  if (isPumping || publisher === undefined) return;
  for (let i = 0; i < turnMax; i++) {
    if (!isFlooding || sent >= allowed) return;
    sent += 1;
    if (!publisher.send()) return;
  }
  isPumping = true;
  setImmediate(() => {
    isPumping = false;
    pump();
  });
}

const turnMax = 64;
const dialledAtOnce = 20;
