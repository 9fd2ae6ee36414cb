/**
 * After healing, in worlds with mailboxes: nothing stays stored for an agent that is there, every message has an outcome,
 * streams that are read come to their end while others are not read, and everything that was promised has arrived.
 */
import { deliveryMs, mailMs } from "./bounds.ts";
import type { Ledger } from "./checkers/ledger.ts";
import type { Say } from "./convergence.ts";
import { addressOf, type Endpoint } from "./endpoint.ts";
import type { Checker } from "./surroundings.ts";
import type { World } from "./world.ts";

/** What is not as it should be while some streams are not read. */
export function mailboxFaults(world: World, say: Say): void {
  if (world.plan.limits.mail === undefined) return;
  for (const at of world.gateways.values()) {
    for (const { agentId, messages, state } of at.mail?.machine.mailboxes() ?? [])
      say("mailboxes-drain", `${at.name} still has ${messages} messages for ${agentId}, which is ${state} there`);
  }
  for (const endpoint of endpointsOf(world)) {
    const open = endpoint.streams.unfinished().filter((stream) => !isStalled(world, stream));
    for (const stream of open)
      say("streams-end", `${endpoint.name} has not ended ${stream.slice(0, 8)}, which is read`);
    // A stream that stands is asked after now and then.
    const count = endpoint.streams.unfinished().length === 0 ? endpoint.outbox.size : 0;
    if (count > 0) say("outcomes-are-known", `${endpoint.name} waits for the outcome of ${count} messages`);
  }
}

/** Readers read again, everything ends, and then one message of each agent to each other is taken. */
export function demandDelivery(world: World, ledger: Ledger): void {
  for (const endpoint of endpointsOf(world)) {
    const stalled = [...endpoint.streams.stalled.keys()];
    world.act(() => endpoint.act(() => stalled.forEach((stream) => endpoint.streams.resume(stream))));
  }
  demandQuiet(world);
  const sent = new Set<string>();
  const listener: Checker = {
    name: "probe-taken",
    endpoint: (_at, event) => void (event.kind === "sent" && sent.add(event.id)),
  };
  world.watchBy([listener]);
  for (const from of endpointsOf(world)) {
    for (const to of endpointsOf(world)) {
      if (to.agent === from.agent) continue;
      const address = addressOf(to.agent, to.plan, to.instance);
      world.act(() => from.send(address, `${from.name} ${address} probe`, { kind: "note" }, "stored", probeMs(world)));
    }
    // All at once may be more than a mailbox takes.
    if (from.plan.instances.length > 1) demandQuiet(world);
  }
  demandQuiet(world);
  for (const id of sent) {
    const entry = ledger.entry(id);
    const isSettled = entry?.settled !== undefined && entry.outcome !== undefined;
    if (!isSettled)
      world.fail("probe-taken", `${id.slice(-6)} for ${entry?.to} ended as ${entry?.settled?.code ?? entry?.outcome}`);
  }
  demandPromises(world, ledger);
  demandSilence(world);
}

/** What a gateway called stored was taken or refused by the application, or is a dead letter, or was given up first. */
function demandPromises(world: World, ledger: Ledger): void {
  for (const entry of ledger.entries.values()) {
    const isGivenUp = entry.settled?.code !== undefined;
    if (!entry.isPromised || entry.outcome !== undefined || entry.isDead || entry.isPurged || isGivenUp) continue;
    world.fail("promised-arrives", `${entry.id.slice(-6)} for ${entry.to} was stored and never arrived`);
  }
}

/** Nothing is repeated when everything has its outcome. */
function demandSilence(world: World): void {
  let transmissions = 0;
  const counter: Checker = {
    name: "outcomes-are-known",
    endpoint: (_at, event) => void (transmissions += event.kind === "transmitted" ? 1 : 0),
  };
  world.watchBy([counter]);
  world.run(world.now + silentMs);
  if (transmissions > 0)
    world.fail("outcomes-are-known", `${transmissions} transmissions although every message has its outcome`);
}

function demandQuiet(world: World): void {
  const until = world.now + mailMs(world.plan) + 20 * deliveryMs(world.plan);
  let first: string | undefined;
  let checker = "";
  const look = (): void => {
    first = undefined;
    mailboxFaults(world, (name, what) => {
      first ??= what;
      checker ||= name;
    });
    for (const endpoint of endpointsOf(world))
      if (endpoint.outbox.size > 0) first ??= `${endpoint.name} waits for the outcome of a message`;
  };
  for (look(); first !== undefined && world.now < until; look()) {
    checker = "";
    world.run(Math.min(until, world.now + lookMs));
  }
  if (first !== undefined) world.fail(checker || "outcomes-are-known", `${first}, though everybody reads`);
}

function endpointsOf(world: World): readonly Endpoint[] {
  return [...world.agents.values()].flatMap((agent) => [...agent.endpoints.values()]);
}

function isStalled(world: World, stream: string): boolean {
  return endpointsOf(world).some((endpoint) => endpoint.streams.stalled.has(stream));
}

const probeMs = (world: World): number => Math.max(...(world.plan.limits.mail?.timeoutsMs ?? [0]));
const lookMs = 250;
const silentMs = 5_000;
