/**
 * What arrives: private messages and welcomes. A message is opened in the group that its MLS header names; the context
 * id of the routing header has to be the one of that group and epoch. Commits that were missed are fetched first.
 */
import { type AgentId, agentOf, CausewayError, instanceOf, refuse, type SpiffeId } from "@causeway/core-base";
import type { Opened } from "./api.ts";
import { privateMessage } from "./committer.ts";
import { type Engine, inGroup, isOrdered } from "./engine.ts";
import { Group } from "./group.ts";
import { clientConfig, mls } from "./group-config.ts";
import { decodeMlsMessage, emptyPskIndex, joinGroup, type PrivateMessage, type Welcome } from "./library.ts";
import { suiteImpl, suiteOf } from "./suites.ts";

export class Receiver {
  readonly #engine: Engine;
  readonly #refused = new Map<string, number>();
  #heard = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Refused messages by code. */
  get refused(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#refused);
  }

  async open(source: SpiffeId, securityContextId: Uint8Array, payload: Uint8Array): Promise<Opened> {
    try {
      const message = privateMessage(payload);
      if (message !== undefined) return await this.#openPrivate(source, securityContextId, message, payload);
      const welcome = welcomeIn(payload);
      if (welcome === undefined) throw refuse("CAUSEWAY_PAYLOAD_NOT_MLS", "expected an MLS private message or welcome");
      return await this.#engine.queue.run(`welcome ${agentOf(source)}`, () =>
        this.#openWelcome(source, securityContextId, welcome),
      );
    } catch (error) {
      throw this.#noteRefusal(error, source);
    }
  }

  async #openPrivate(
    source: SpiffeId,
    context: Uint8Array,
    message: PrivateMessage,
    payload: Uint8Array,
  ): Promise<Opened> {
    const id = Buffer.from(message.groupId).toString("hex");
    if (this.#engine.book.get(id) === undefined)
      await this.#engine.queue.run(`welcome ${agentOf(source)}`, async () => undefined);
    const group = this.#engine.book.get(id);
    if (group === undefined) throw unknownContext("this agent is not a member of the group");
    // Waiting for the disk is no reason to hold up the next message: concurrent ones share a write.
    const stored: Promise<void>[] = [];
    const opened = await inGroup(this.#engine, group, async (): Promise<Opened> => {
      if (group.closed) throw unknownContext("the group was closed");
      if (message.epoch > group.epoch && isOrdered(this.#engine, group)) await this.#engine.committer.catchUp(group);
      if (group.closed) return { kind: "handshake", change: "removed", group: group.view() };
      if (message.epoch > group.epoch)
        throw unknownContext(`the message is of epoch ${message.epoch}, the group is in ${group.epoch}`);
      const expected = group.contextOf(message.epoch);
      if (expected !== undefined && Buffer.compare(expected, context) !== 0) {
        // Same group and epoch, other secrets: the members were told different commits.
        this.#engine.report({
          type: "group.forked",
          groupId: id,
          peer: source,
          code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN",
          text: `context id of epoch ${message.epoch} differs`,
        });
        throw unknownContext(`the sender's epoch ${message.epoch} is another one than this agent's`);
      }
      switch (message.contentType) {
        case "application":
          return this.#openApplication(group, message, source, stored);
        case "commit":
          return this.#openCommit(group, message, payload, source);
        case "proposal":
          return this.#openProposal(group, message, source);
      }
    });
    await Promise.all(stored);
    return opened;
  }

  async #openApplication(
    group: Group,
    message: PrivateMessage,
    source: SpiffeId,
    stored: Promise<void>[],
  ): Promise<Opened> {
    const current = message.epoch === group.epoch;
    const { sender, leafIndex, plaintext } = await group.openApplication(message, source);
    group.lastHeard = ++this.#heard;
    if (!group.history.confirmed) {
      group.history.confirmed = true;
      group.history.welcome = undefined;
      await this.#engine.book.saved(group);
    }
    // The used key is gone from the disk before the content is delivered: no replay after a restart.
    if (current) stored.push(this.#engine.book.records(group).saveRatchets(leafIndex));
    return { kind: "application", sender, plaintext, group: group.view() };
  }

  async #openCommit(group: Group, message: PrivateMessage, payload: Uint8Array, source: SpiffeId): Promise<Opened> {
    const known: Opened = { kind: "handshake", change: "known", group: group.view() };
    if (message.epoch < group.epoch) return known;
    const own = group.pending;
    if (own !== undefined && Buffer.compare(own.bytes, payload) === 0) {
      await this.#engine.committer.settle(group);
      return known;
    }
    await this.#engine.committer.apply(group, message, agentOf(source));
    return { kind: "handshake", change: group.closed ? "removed" : "advanced", group: group.view() };
  }

  async #openProposal(group: Group, message: PrivateMessage, source: SpiffeId): Promise<Opened> {
    if (message.epoch < group.epoch) return { kind: "handshake", change: "known", group: group.view() };
    const leaves = await group.processProposal(message, source);
    return { kind: "handshake", change: leaves ? "pending" : "known", group: group.view() };
  }

  async #openWelcome(from: SpiffeId, context: Uint8Array, welcome: Welcome): Promise<Opened> {
    const source = agentOf(from);
    const suite = suiteOf(welcome.cipherSuite);
    const own = await this.#engine.shelf.find(welcome.secrets.map((each) => each.newMember));
    if (own === undefined) {
      // Welcomes are repeated until they are answered.
      const known = this.#engine.book.byContext(context);
      if (known?.leafOf(source) !== undefined) return { kind: "handshake", change: "known", group: known.view() };
      throw unknownContext("the welcome is for a key package that this agent does not have any more");
    }
    const impl = await suiteImpl(suite);
    const state = await mls(() =>
      joinGroup(
        welcome,
        own.publicPackage,
        own.privatePackage,
        emptyPskIndex,
        impl,
        undefined,
        undefined,
        clientConfig(this.#engine.judge),
      ),
    );
    const now = this.#engine.now();
    const history = { epochSince: now, ownSince: now, sentBefore: 0, confirmed: true, welcome: undefined };
    const group = await Group.open({ state, history, impl, judge: this.#engine.judge, self: this.#engine.self });
    this.#checkWelcome(group, source);
    const held = this.#engine.book.get(group.id);
    if (held !== undefined && held.epoch >= group.epoch)
      return { kind: "handshake", change: "known", group: held.view() };
    if (held !== undefined)
      await inGroup(this.#engine, held, () => this.#engine.book.drop(held, "the agent was invited again"));
    group.lastHeard = ++this.#heard;
    if (group.facts.kind === "pair") group.history.peerInstance = instanceOf(from);
    await this.#engine.book.add(group);
    await this.#engine.shelf.use(own);
    if (group.facts.kind === "pair") await this.#engine.book.limitPairs(source, group);
    this.#engine.report({
      type: "group.joined",
      groupId: group.id,
      peer: source,
      text: `joined a group of ${group.facts.owner} at epoch ${group.epoch}`,
    });
    return { kind: "handshake", change: "joined", group: group.view() };
  }

  #checkWelcome(group: Group, source: AgentId): void {
    const { kind, owner } = group.facts;
    if (group.leafOf(source) === undefined || (kind === "pair" && (owner !== source || group.names.size !== 2))) {
      throw refuse(
        "CAUSEWAY_E2EE_SENDER_MISMATCH",
        `the header names ${source} as sender, the welcome is for a ${kind} of ${owner}`,
      );
    }
    if (group.leafOf(owner) === undefined)
      throw refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", "the owner is not a member of the group");
  }

  #noteRefusal(error: unknown, source: SpiffeId): CausewayError {
    const known = CausewayError.from(error);
    this.#refused.set(known.code, (this.#refused.get(known.code) ?? 0) + 1);
    this.#engine.report({ type: "message.refused", peer: source, code: known.code, text: known.message });
    return known;
  }
}

function welcomeIn(payload: Uint8Array): Welcome | undefined {
  try {
    const decoded = decodeMlsMessage(payload, 0);
    if (decoded === undefined || decoded[1] !== payload.length || decoded[0].wireformat !== "mls_welcome")
      return undefined;
    return decoded[0].welcome;
  } catch {
    // The decoder throws on some malformed lengths: it is not a welcome.
    return undefined;
  }
}

function unknownContext(why: string): CausewayError {
  return refuse("CAUSEWAY_E2EE_CONTEXT_UNKNOWN", `${why}; a new group has to be established`);
}
