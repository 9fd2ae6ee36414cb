/** One end: asks and answers interactively, sends bulk, or takes it, as the SDK does but without encryption. */
import { systemRandom } from "@causeway/adapter-clock";
import type { Link } from "@causeway/adapter-h2";
import { type AgentId, parseAgentId } from "@causeway/core-base";
import {
  agp,
  encodeFrame,
  encodeMessageFrame,
  FrameScan,
  grpcPrefixBytes,
  Lane,
  laneOf,
  newMessageId,
  scanFrame,
  TargetKind,
} from "@causeway/core-wire";
import { AttachedAgent } from "../clients/causeway.ts";
import { privateMessage } from "../clients/private-message.ts";
import { clock, trustFrom } from "../identity.ts";
import { moveToBackground } from "./background.ts";
import type { ClassesAnswer, ClassesCommand } from "./protocol.ts";

let source: AgentId;
let target: AgentId;
let link: Link;
let answer: Uint8Array | undefined;
let isAnswering = false;
let bulkBytesPerSecond = 0;
let bulkBytes = 0;
/** Bulk that was read and not taken, and taken and not acknowledged. */
let waiting = 0;
let unacknowledged = 0;
let isFlooding = false;
let isStopped = false;
let bulk: Uint8Array = new Uint8Array(0);
let pings: { readonly frame: Uint8Array; readonly micros: number[]; at: number } | undefined;
const scan = new FrameScan();

const report = (message: ClassesAnswer | { readonly failed: string }): void => void process.send?.(message);

process.on("disconnect", () => process.exit());
process.on("message", (command: ClassesCommand) => {
  handle(command).catch((thrown: unknown) => report({ failed: String(thrown) }));
});

async function handle(command: ClassesCommand): Promise<void> {
  switch (command.do) {
    case "open": {
      source = parseAgentId(command.identity.spiffeId);
      target = parseAgentId(command.target);
      const agent = new AttachedAgent(source, command.identity, trustFrom(command.trustState), command.url);
      agent.onMessage = onMessage;
      agent.onCredit = onCredit;
      agent.mayBeRefused = true;
      link = await agent.attach();
      link.onWritable(pump);
      report({ did: "open" });
      return;
    }
    case "take":
      isAnswering = true;
      bulkBytesPerSecond = command.bulkBytesPerSecond;
      if (bulkBytesPerSecond === 0) moveToBackground();
      else {
        const started = performance.now();
        let given = 0;
        setInterval(() => {
          const allowed = ((performance.now() - started) * bulkBytesPerSecond) / 1_000 - given;
          const some = Math.min(waiting, Math.max(0, allowed));
          given += Math.max(some, allowed - burstBytes);
          waiting -= some;
          take(some);
        }, 1);
      }
      report({ did: "take" });
      return;
    case "flood":
      moveToBackground();
      bulk = message(command.size, agp.TrafficClass.BULK);
      isFlooding = true;
      pump();
      report({ did: "flood" });
      return;
    case "stop":
      isFlooding = false;
      report({ did: "stop" });
      return;
    case "ping":
      pings = { frame: message(command.size, agp.TrafficClass.INTERACTIVE), micros: [], at: 0 };
      setTimeout(() => {
        const micros = pings?.micros ?? [];
        pings = undefined;
        report({ did: "ping", micros });
      }, command.forMs);
      ping();
      return;
    case "count": {
      const { user, system } = process.cpuUsage();
      report({ did: "count", bulkBytes, at: performance.now(), cpuSeconds: (user + system) / 1e6 });
    }
  }
}

function onMessage(buffer: Uint8Array, start: number, end: number): void {
  scanFrame(buffer, start, end, scan);
  if (laneOf(scan) === Lane.bulk) {
    const bytes = end - start + grpcPrefixBytes;
    if (bulkBytesPerSecond > 0) waiting += bytes;
    else take(bytes);
  } else if (pings !== undefined) {
    pings.micros.push(Math.round((performance.now() - pings.at) * 1_000));
    ping();
  } else if (isAnswering) {
    answer ??= message(scan.payloadBytes, agp.TrafficClass.INTERACTIVE, scan.source());
    link.send(answer);
  }
}

/** Acknowledges as the SDK does. */
function take(bytes: number): void {
  bulkBytes += bytes;
  unacknowledged += bytes;
  if (unacknowledged < acknowledgeBytes) return;
  const value = { trafficClass: agp.TrafficClass.BULK, bytes: Math.floor(unacknowledged) };
  unacknowledged = 0;
  link.send(encodeFrame({ case: "credit", value }));
}

function onCredit({ bytes, flow }: agp.Credit): void {
  link.takenBulk(bytes);
  if (flow === agp.FlowState.STOP) isStopped = true;
  if (flow === agp.FlowState.GO) {
    isStopped = false;
    pump();
  }
}

function ping(): void {
  if (pings === undefined) return;
  pings.at = performance.now();
  link.send(pings.frame);
}

let isPumping = false;

function pump(): void {
  if (isPumping) return;
  for (let i = 0; i < turnMax; i++) {
    if (!isFlooding || isStopped || !link.send(bulk, 0, bulk.length, Lane.bulk)) return;
  }
  isPumping = true;
  setImmediate(() => {
    isPumping = false;
    pump();
  });
}

function message(bytes: number, trafficClass: agp.TrafficClass, to: string = target): Uint8Array {
  const header = {
    version: 1,
    targetKind: TargetKind.agent,
    target: to,
    source,
    messageId: newMessageId(systemRandom, clock()),
    hopTtl: 16,
    trafficClass,
    deliveryMode: agp.DeliveryMode.BEST_EFFORT,
  };
  return encodeMessageFrame(header, privateMessage(bytes));
}

const turnMax = 64;
const burstBytes = 65_536;
const acknowledgeBytes = 16_384;
