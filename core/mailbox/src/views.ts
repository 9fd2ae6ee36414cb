/** What is held, in plain data, for operators. */
import type { UnixMs } from "@causeway/core-base";
import type { MailboxView, MailView } from "./effects.ts";
import { type MailFilter, matches } from "./filter.ts";
import type { Holdings } from "./holdings.ts";
import { MailState } from "./mail-rows.ts";

export function viewsOfMailboxes(held: Holdings): readonly MailboxView[] {
  return [...held.lanes.values()].map((lane) => ({
    agentId: lane.agentId,
    messages: lane.messages,
    bytes: lane.bytes,
    underWay: lane.underWay,
    sources: lane.boxes.size,
    oldestAt: lane.oldest < 0 ? (0 as UnixMs) : held.rows.mail(lane.oldest).storedAt,
    state: lane.links.length > 0 ? "attached" : lane.isMoved ? "moved" : "away",
  }));
}

/** What is stored and matches, the oldest of each mailbox first. */
export function viewsOfStored(held: Holdings, filter: MailFilter): readonly MailView[] {
  const lanes = filter.agentId === undefined ? [...held.lanes.values()] : [held.lanes.get(filter.agentId)];
  return lanes.flatMap((lane) =>
    (lane?.items() ?? []).flatMap((row): MailView[] => {
      const mail = held.rows.mail(row);
      if (!matches(mail, filter)) return [];
      const state = held.rows.state(row) === MailState.underWay ? "under-way" : "waiting";
      return [{ mail, attempts: held.rows.attempts(row), state }];
    }),
  );
}

/** Dead letters that match, the oldest first. */
export function viewsOfDeadLetters(held: Holdings, filter: MailFilter): readonly MailView[] {
  return held.dead
    .all()
    .filter((letter) => matches(letter.mail, filter))
    .map((dead) => ({ mail: dead.mail, attempts: 0, state: "dead", dead }));
}
