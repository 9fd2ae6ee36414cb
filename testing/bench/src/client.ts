/** A client process: one end of the relay, driven by the harness over IPC. */
import { openEnd as openCauseway } from "./clients/causeway.ts";
import { openEnd as openLinkEnd } from "./clients/link.ts";
import { openEnd as openNats } from "./clients/nats.ts";
import { openEnd as openSlim } from "./clients/slim.ts";
import type { Command } from "./protocol.ts";
import type { ClientConfig, OpenEnd, RelayEnd } from "./system.ts";

const openers: Readonly<Record<ClientConfig["client"], OpenEnd>> = {
  causeway: openCauseway,
  link: openLinkEnd,
  nats: openNats,
  slim: openSlim,
};

let end: RelayEnd | undefined;
let received = 0;
let isEchoing = false;
/** Receiver: progress is reported every so many messages. */
let reportEvery = Number.POSITIVE_INFINITY;
let reportAt = Number.POSITIVE_INFINITY;
/** Sender in a flood. */
let sent = 0;
let acknowledged = 0;
let aheadMax = 0;
let isFlooding = false;
let isPumping = false;
/** Sender in a round trip. */
let pingStarted = 0;
let pings: number[] | undefined;

const report = (message: object): void => void process.send?.(message);

// The harness is gone: so is the reason to run.
process.on("disconnect", () => process.exit());
process.on("message", (command: Command) => {
  handle(command).catch((thrown: unknown) =>
    report({ failed: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) }),
  );
});

async function handle(command: Command): Promise<void> {
  switch (command.do) {
    case "open": {
      end = await openers[command.config.client](command.config.settings, command.role);
      end.onReceive(onReceive);
      end.onWritable(pump);
      report({ did: "open", facts: end.facts });
      return;
    }
    case "prepare":
      end?.prepareSize(command.size);
      received = 0;
      sent = 0;
      acknowledged = 0;
      isEchoing = command.isEchoing;
      reportEvery = command.reportEvery ?? Number.POSITIVE_INFINITY;
      reportAt = reportEvery;
      report({ did: "prepare" });
      return;
    case "flood":
      aheadMax = command.aheadMax;
      isFlooding = true;
      pump();
      return;
    case "acknowledge":
      acknowledged = command.received;
      pump();
      return;
    case "stop":
      isFlooding = false;
      report({ did: "stop", sent });
      return;
    case "count":
      report({ did: "count", received, at: performance.now() });
      return;
    case "roundTrips":
      pings = [];
      setTimeout(() => {
        report({ did: "roundTrips", micros: pings ?? [] });
        pings = undefined;
      }, command.forMs);
      ping();
      return;
  }
}

function onReceive(count: number): void {
  received += count;
  if (pings !== undefined) {
    pings.push(Math.round((performance.now() - pingStarted) * 1_000));
    ping();
  } else if (isEchoing) {
    for (let i = 0; i < count; i++) end?.send();
  } else if (received >= reportAt) {
    reportAt = received + reportEvery;
    report({ did: "progress", received });
  }
}

function ping(): void {
  pingStarted = performance.now();
  end?.send();
}

/** Sends until told to wait, at most `turnMax` messages in a turn of the event loop. */
function pump(): void {
  if (isPumping || end === undefined) return;
  for (let i = 0; i < turnMax; i++) {
    if (!isFlooding || sent - acknowledged >= aheadMax) return;
    sent += 1;
    if (!end.send()) return;
  }
  isPumping = true;
  setImmediate(() => {
    isPumping = false;
    pump();
  });
}

const turnMax = 512;
