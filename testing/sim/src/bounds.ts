/** How long a healed world may take, as formulas of its delays and timers. */
import type { Plan } from "./plan.ts";

/** One way of one message, at most. */
function hopMs(plan: Plan): number {
  return plan.fabric.delayMsMax + plan.fabric.jitterMs;
}

/** Gateways that a change may have to pass: all of Level 2 in a line, and the edges at both ends. */
function hops(plan: Plan): number {
  return plan.gateways.filter((g) => g.role === "level2").length + 2;
}

/**
 * From the end of the last fault to one view everywhere:
 *
 *   notice a half-open connection + dial again + agree
 * + an agent that has lost its gateway tries every home, twice
 * + an agent that vanished goes stale and is removed
 * + every record, a window at a time
 * + for each hop: grace, flush, acknowledgement and way, and the hold-down of a status that flapped
 * + the next attempt of a subscription that was refused
 * + the longest wait for the outcome of a message, and for a mailbox to be handed over
 * + complete views, asked for as often as views may differ before the session is closed
 */
export function convergenceMs(plan: Plan): number {
  const { sync, attachment, agent, topics, dataRetryMs } = plan.limits;
  const way = hopMs(plan);
  const { dialTimeoutMs, pingMs } = plan.fabric;
  const noticeMs = Math.max(sync.offlineAfterMs + sync.keepAliveMs, silenceMs(plan), pingMs.data ?? 0);
  const sessionMs = sync.reconnectMsMax + dialTimeoutMs + sync.helloMs + dataRetryMs + 6 * way;
  const agentMs = 2 * 3 * (agent.handshakeMs + dialTimeoutMs + agent.reconnectMsMax);
  const removalMs = attachment.staleAfterMs + attachment.removeAfterStaleMs + attachment.leaseMs;
  const records = plan.gateways.length * plan.agents.length;
  const queueMs = Math.ceil(records / sync.unacknowledgedMax) * (2 * sync.flushMs + 2 * way);
  const spreadMs =
    hops(plan) * (sync.restartGraceMs + 2 * sync.flushMs + topics.interestDelayMs + 3 * way + holdDownMsMax);
  const viewMs = (sync.mismatchesMax + 1) * (sync.auditMs + sync.helloMs);
  // A subscription that was one too many is tried again after a minute.
  const subscriptionMs = sync.subscriptionsActiveMax < 10 ? 61_000 : 0;
  return Math.ceil(
    (mailMs(plan) + queueMs + subscriptionMs + noticeMs + sessionMs + agentMs + removalMs + spreadMs + viewMs) *
      clockFactor,
  );
}

/** From the end of the last fault until every reliable message has an outcome and no mailbox holds anything. */
export function mailMs({ limits: { mail } }: Plan): number {
  if (mail === undefined) return 0;
  const { gapMs, mailbox, session, timeoutsMs } = mail;
  return (
    2 * gapMs +
    Math.max(...timeoutsMs, mail.storedMs) +
    mailbox.mailboxTransferMsMax * 4 +
    session.receivedRetryMsMin * 2
  );
}

/**
 * From the end of the last fault until nothing is stored for an agent any more: an agent tries every home, its earlier
 * attachment is removed, its mailbox is handed over, and gaps of dead senders are passed over.
 */
export function drainMs(plan: Plan): number {
  const { agent, attachment, mail } = plan.limits;
  const { dialTimeoutMs } = plan.fabric;
  const agentMs = 2 * 3 * (agent.handshakeMs + dialTimeoutMs + agent.reconnectMsMax);
  const removalMs = attachment.staleAfterMs + attachment.removeAfterStaleMs + attachment.leaseMs;
  return agentMs + removalMs + 4 * (mail?.mailbox.mailboxTransferMsMax ?? 0) + 2 * (mail?.gapMs ?? 0);
}

/** From the last sign of life on an attachment until the agent gives its link up. */
export function silenceMs({ limits: { agent, attachment } }: Plan): number {
  return agent.staleAfterMs + attachment.heartbeatMs;
}

/** From a message to its last copy or its answer: there and back, and whatever waits for an agent. */
export function deliveryMs(plan: Plan): number {
  return 2 * hops(plan) * (hopMs(plan) + 2) + 100;
}

/** From one change to the last update that it causes. */
export function settleMs(plan: Plan): number {
  const { sync } = plan.limits;
  return hops(plan) * (2 * sync.flushMs + sync.restartGraceMs + 3 * hopMs(plan)) + 200;
}

/**
 * Updates that one change may cost: one for each direction of each link, for each of the PATH lengths under which a
 * gateway may learn of it before the shortest arrives.
 */
export function updatesPerChangeMax(plan: Plan): number {
  const links = plan.gateways.reduce((sum, g) => sum + g.dials.length, 0);
  return 2 * links * Math.max(1, hops(plan) - 2);
}

/** Two half-lives of the status damper. */
export const holdDownMsMax = 30_000;
/** Clocks may run slow by a hundredth. */
const clockFactor = 1.02;
