/** Defects of mailboxes whose agents have several instances, whose disk is full, or that an operator looks after. */
import type { Mutant } from "./mutants.ts";

export const instanceMutants: readonly Mutant[] = [
  {
    name: "what could not be stored is kept in memory",
    file: "core/mailbox/src/mailboxes.ts",
    find: "  handleStoreFailed(now: Now, mails: readonly StoredMail[], error: ErrorFacts): void {\n",
    replace:
      "  handleStoreFailed(now: Now, mails: readonly StoredMail[], error: ErrorFacts): void {\n    if (mails.length >= 0) return;\n",
    seed: 1,
    world: "instances",
    killedBy: ["disk-is-memory", "stored-before-told"],
  },
  {
    name: "message of one instance handed to another",
    file: "core/mailbox/src/hand-over.ts",
    find: "return links.find((each) => each.instance === instance)?.link;",
    replace: "return links[0]?.link;",
    seed: 1,
    world: "instances",
    killedBy: ["own-mailbox"],
  },
  {
    name: "what waits for an instance is forgotten",
    file: "core/mailbox/src/mailboxes.ts",
    find: "    lane.unpark();\n    lane.burst = lane.burstBytes = 0;\n",
    replace: "    lane.burst = lane.burstBytes = 0;\n",
    seed: 1,
    world: "instances",
    killedBy: ["mail-in-order", "mailboxes-drain"],
  },
  {
    name: "dead letter put back with the time that had run out",
    file: "core/mailbox/src/mailboxes.ts",
    find: "expiresAt: (now.unix + this.#limits.mailboxMs) as UnixMs };\n",
    replace: "expiresAt: letter.mail.expiresAt };\n",
    seed: 2,
    world: "instances",
    killedBy: ["replay-gives-time"],
  },
  {
    name: "purge of dead letters takes what waits",
    file: "core/mailbox/src/mailboxes.ts",
    find: "    if (isDeadOnly) return count;\n",
    replace: "",
    seed: 2,
    world: "instances",
    killedBy: ["promised-is-kept"],
  },
  {
    name: "accepted taken for an outcome",
    file: "core/session/src/outbox.ts",
    find: '    if (progress !== "stored") return;\n',
    replace: '    if (progress !== "stored") return this.#settle(entry, undefined);\n',
    seed: 1,
    world: "instances",
    killedBy: ["truthful-outcome"],
  },
  {
    name: "edge gateway keeps the mailbox of who moved",
    file: "core/mailbox/src/mailboxes.ts",
    find: "    lane.isMoved = isMoved;\n",
    replace: "",
    seed: 1,
    world: "edges",
    killedBy: ["mailboxes-drain"],
  },
];
