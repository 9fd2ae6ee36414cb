import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { agentOf, idOf, nameOfMail, World } from "./fixtures/world.ts";

const agents = ["bob", "eve"] as const;
const senders = ["alice", "carol"] as const;
const name = fc.constantFrom(...agents);

/** What happens to one gateway's mailboxes, in any order. */
const happening = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("send"), name, fc.constantFrom(...senders), fc.boolean(), fc.nat(400)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("attach"), name, fc.boolean()) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("detach"), name) },
  { weight: 4, arbitrary: fc.tuple(fc.constant("ack"), name, fc.nat(3)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("refuse"), name) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("advance"), fc.constantFrom(500, 6_000, 90_000)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("crash")) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("moved"), name, fc.boolean()) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("transferred"), fc.nat(3), fc.boolean()) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("room"), name) },
);
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

const limits = {
  mailboxMessagesMax: 9,
  mailboxBytesMax: 2_500,
  mailboxSenderMessagesMax: 6,
  mailboxSenderBytesMax: 1_800,
  mailboxTotalMessagesMax: 14,
  mailboxTotalBytesMax: 4_000,
  mailboxWindowMessages: 3,
  mailboxWindowBytes: 900,
  mailboxAttemptsMax: 4,
  mailboxMs: 300_000,
  deadLettersMax: 5,
  mailboxTransferMessages: 2,
};

/** Plays happenings; the agents' side and what was promised are kept beside the machine. */
class Play {
  readonly world = new World(limits);
  /** Promised as stored and not answered otherwise, by id. */
  readonly promised = new Set<string>();
  readonly left = new Map<string, string>();
  #links = 0;
  #ids = 0;
  readonly #current = new Map<string, number>();
  readonly #acknowledged = new Set<string>();

  act([kind, ...rest]: Happening): void {
    const [agent, more, flag, bytes] = rest as [string, never, boolean, number];
    const { world } = this;
    let lines: readonly string[] = [];
    if (kind === "send") {
      const id = String(++this.#ids).padStart(5, "0");
      lines = world.send({ to: agent, from: more, id, bytes: bytes + 1, stored: flag, notice: true });
    } else if (kind === "attach") {
      const link = ++this.#links;
      this.#current.set(agent, link);
      lines = world.setLinks(agent, [{ link, instance: "", acknowledges: more }]);
    } else if (kind === "detach") {
      this.#current.delete(agent);
      lines = world.setLinks(agent, []);
    } else if (kind === "ack" || kind === "refuse") {
      lines = this.#ack(agent, kind === "ack" ? (more as number) + 1 : 1, kind === "refuse");
    } else if (kind === "advance") lines = world.advance(Number(agent));
    else if (kind === "crash") {
      this.#current.clear();
      lines = world.crash();
    } else if (kind === "moved") {
      world.machine.handleMoved(world.now, agentOf(agent), more);
      lines = world.perform();
    } else if (kind === "transferred") {
      const offer = world.transfers.pop();
      const error = {
        code: more ? "CAUSEWAY_MAILBOX_FULL" : "CAUSEWAY_FORWARDING_NOT_ALLOWED",
        message: "no",
      } as const;
      if (offer !== undefined) world.machine.handleTransferred(world.now, offer.transfer, Number(agent), error);
      lines = world.perform();
    } else {
      world.machine.handleRoom(world.now, agentOf(agent));
      lines = world.perform();
    }
    this.#note(lines);
  }

  /** Everybody comes, takes and acknowledges until nothing moves. */
  settle(): void {
    for (const agent of agents) {
      this.act(["moved", agent, false] as Happening);
      // An offer that nobody has answered holds a mailbox up until its time is over.
      this.act(["advance", 61_000] as unknown as Happening);
      this.act(["attach", agent, true] as Happening);
      for (let before = -1; before !== this.#acknowledged.size; ) {
        before = this.#acknowledged.size;
        this.act(["ack", agent, 100] as Happening);
      }
    }
  }

  #ack(agent: string, count: number, refuses: boolean): readonly string[] {
    const link = this.#current.get(agent);
    const open = (this.world.handed.get(link ?? -1) ?? []).filter(({ id }) => !this.#acknowledged.has(id));
    const lines: string[] = [];
    for (const { source, id } of open.slice(0, count)) {
      this.#acknowledged.add(id);
      const from = source.slice(source.lastIndexOf("/") + 1);
      lines.push(...this.world.ack(agent, from, [id], refuses ? "CAUSEWAY_E2EE_DECRYPT_FAILED" : undefined));
    }
    return lines;
  }

  #note(lines: readonly string[]): void {
    for (const line of lines) {
      const [word = "", , id = ""] = line.replace(":", "").split(" ");
      if (word === "stored") this.promised.add(id);
      if (word === "remove") this.left.set(id, line.slice(line.indexOf(":") + 2));
    }
  }
}

describe("mailboxes, whatever happens", () => {
  const plays = fc.array(happening, { maxLength: 120, size: "max" });

  test("what was reported as stored is on the disk, dead, or left for a reason that is allowed [AGP-58]", () => {
    fc.assert(
      fc.property(plays, (happenings) => {
        const play = new Play();
        for (const each of happenings) {
          play.act(each);
          const held = new Set(
            [...play.world.waiting.values(), ...[...play.world.dead.values()].map((d) => d.mail)].map(nameOfMail),
          );
          for (const id of play.promised) {
            if (held.has(id)) continue;
            expect(play.left.get(id)).toMatch(/^(acknowledged|delivered|handed-over|dead-letter-ended)$/);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("memory and disk agree, and every bound holds [ANA-49]", () => {
    fc.assert(
      fc.property(plays, (happenings) => {
        const play = new Play();
        const { world } = play;
        for (const each of happenings) {
          play.act(each);
          const stored = world.machine.stored({}).map((view) => view.mail);
          expect(new Set(stored.map((mail) => mail.sequence))).toEqual(new Set(world.waiting.keys()));
          expect(world.machine.deadLetters({}).map((view) => view.mail.sequence)).toEqual([...world.dead.keys()]);
          const totals = world.machine.totals();
          expect(totals.messages).toBe(stored.length);
          expect(totals.bytes).toBe(stored.reduce((sum, mail) => sum + mail.bytes, 0));
          expect(totals.messages).toBeLessThanOrEqual(limits.mailboxTotalMessagesMax);
          expect(totals.bytes).toBeLessThanOrEqual(limits.mailboxTotalBytesMax);
          expect(totals.deadLetters).toBeLessThanOrEqual(limits.deadLettersMax);
          for (const box of world.machine.mailboxes()) {
            expect(box.messages).toBeLessThanOrEqual(limits.mailboxMessagesMax);
            expect(box.bytes).toBeLessThanOrEqual(limits.mailboxBytesMax);
            expect(box.underWay).toBeLessThanOrEqual(limits.mailboxWindowMessages);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("over one link the messages of one sender come in the order in which they were sent [AGP-58]", () => {
    fc.assert(
      fc.property(plays, (happenings) => {
        const play = new Play();
        for (const each of happenings) play.act(each);
        play.settle();
        for (const handed of play.world.handed.values()) {
          for (const sender of senders) {
            const ids = handed.flatMap(({ source, id }) => (source === agentOf(sender) ? [id] : []));
            expect(ids).toEqual([...new Set(ids)].sort());
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("what expired on its way from another gateway is a dead letter, and is not handed over", () => {
    const world = new World(limits);
    world.setLinks("bob", [{ link: 1, instance: "", acknowledges: true }]);
    const lines = world.send({ to: "bob", from: "alice", id: "m1", expiresInMs: -1, stored: true });
    expect(lines).toEqual([
      "taken",
      "store alice m1 for bob",
      "stored alice m1",
      "bury alice m1: CAUSEWAY_FORWARDING_EXPIRED, tell its source",
    ]);
  });

  test("an answer of another gateway is waited for longer each time it comes too late", () => {
    const world = new World({ ...limits, mailboxTransferMs: 1_000, mailboxTransferMsMax: 60_000 });
    world.send({ to: "bob", from: "alice", id: "m1", stored: true });
    world.machine.handleMoved(world.now, agentOf("bob"), true);
    world.perform();
    const answers: { readonly at: number; readonly transfer: number }[] = [];
    for (let ms = 0; ms < 200_000 && world.waiting.size > 0; ms += 500) {
      for (const { transfer } of world.transfers.splice(0)) answers.push({ at: ms + 5_000, transfer });
      for (const { at, transfer } of answers) if (at === ms) world.machine.handleTransferred(world.now, transfer, 1);
      world.perform();
      world.advance(500);
    }
    expect(world.waiting.size).toBe(0);
  });

  test("two gateways that offer the same message to each other do not both let it go [AGP-58]", () => {
    const worlds = [new World(limits), new World(limits)] as const;
    for (const world of worlds) {
      world.send({ to: "bob", from: "alice", id: "m1", stored: true });
      world.machine.handleMoved(world.now, agentOf("bob"), true);
      world.perform();
    }
    const offers = worlds.map((world) => world.transfers.splice(0)[0]);
    // Each takes the other's offer, says so, and hears that the other did.
    const verdicts = worlds.map((world) => {
      const [mail] = world.machine.stored({});
      if (mail === undefined) throw new Error("nothing is stored");
      const { agentId, instance, source, id, bytes, storedAt, isTraced } = mail.mail;
      const offer = { agentId, instance, source, id, bytes, storedAt, isTraced, expiresUnixMs: 0, link: undefined };
      return world.machine.offer(world.now, { ...offer, wantsStored: true, wantsNotice: false } as never);
    });
    expect(verdicts).toEqual(["taken", "taken"]);
    for (const [index, world] of worlds.entries()) {
      world.machine.handleTransferred(world.now, offers[index]?.transfer ?? 0, 1);
      world.perform();
    }
    expect(worlds.map((world) => world.machine.stored({}).length)).toEqual([1, 1]);
    // One that is offered and is not under way to anybody goes.
    const [first, second] = worlds;
    first.advance(600_000);
    const again = first.transfers.splice(0)[0];
    expect(again).toBeDefined();
    first.machine.handleTransferred(first.now, again?.transfer ?? 0, 1);
    first.perform();
    expect([first.machine.stored({}).length, second.machine.stored({}).length]).toEqual([0, 1]);
  });

  test("what comes for an agent that is elsewhere is offered there at once", () => {
    const world = new World(limits);
    world.elsewhere.add(agentOf("bob"));
    for (const id of ["m1", "m2", "m3"]) world.send({ to: "bob", from: "alice", id, stored: true });
    const offered: string[][] = [];
    for (let offer = world.transfers.shift(); offer !== undefined; offer = world.transfers.shift()) {
      offered.push(offer.mails.map(({ id }) => id.trim()));
      world.machine.handleTransferred(world.now, offer.transfer, offer.mails.length);
      world.perform();
    }
    expect(offered).toEqual([["m1"], ["m2", "m3"]]);
    expect(world.waiting.size).toBe(0);
  });

  test("what another gateway offers once more is answered like the first time, and handed to nobody again [AGP-58]", () => {
    const world = new World(limits);
    const link = { link: 1, instance: "", acknowledges: true };
    const offer = (name: string): string => {
      const [agentId, source, id, storedAt] = [agentOf("bob"), agentOf("alice"), idOf(name), world.now.unix];
      const mail = {
        agentId,
        instance: "",
        source,
        id,
        bytes: 10,
        isTraced: false,
        expiresUnixMs: 0,
        link: 1,
        storedAt,
      };
      const verdict = world.machine.offer(world.now, { ...mail, wantsStored: true, wantsNotice: false } as never);
      return [verdict, ...world.perform()].join(", ");
    };
    world.setLinks("bob", [link]);
    const first = offer("m1");
    expect(first).toContain("deliver");
    expect(offer("m1")).toBe("repeat");
    world.ack("bob", "alice", ["m1"]);
    // The answer was late: the agent has had it, and its copy at the other gateway may go.
    expect(offer("m1")).toBe("taken");
    expect(offer("m2")).toContain("deliver");
    // One that left for another gateway may come back from there.
    world.setLinks("bob", []);
    world.machine.handleMoved(world.now, agentOf("bob"), true);
    world.perform();
    world.machine.handleTransferred(world.now, world.transfers.splice(0)[0]?.transfer ?? 0, 1);
    world.perform();
    expect(world.machine.stored({})).toEqual([]);
    world.setLinks("bob", [link]);
    expect(offer("m2")).toContain("deliver");
    // What could not be stored was not taken.
    const [mail] = world.machine.stored({});
    world.machine.handleStoreFailed(world.now, mail ? [mail.mail] : [], {
      code: "CAUSEWAY_STORE_FAILED",
      message: "x",
    });
    world.perform();
    expect(world.machine.stored({})).toEqual([]);
    expect(offer("m2")).toContain("deliver");
  });

  test("when agents come and acknowledge, nothing stays behind [AGP-58]", () => {
    fc.assert(
      fc.property(plays, (happenings) => {
        const play = new Play();
        for (const each of happenings) play.act(each);
        play.settle();
        expect(play.world.machine.stored({})).toEqual([]);
        expect(play.world.machine.totals()).toMatchObject({ mailboxes: 0, messages: 0, bytes: 0 });
      }),
      { numRuns: 300 },
    );
  });
});
