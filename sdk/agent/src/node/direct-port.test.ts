/** Direct links over real sockets: an agent's port, and another agent that dials it. */
import { create } from "@bufbuild/protobuf";
import { createScheduler } from "@causeway/adapter-clock";
import { type IdentityKeeper, nodeCrypto } from "@causeway/adapter-keys";
import { type AgentId, asUnixMs, parseAgentId, silentLog } from "@causeway/core-base";
import { TrustStore } from "@causeway/core-identity";
import { aca, agp, encodeMessageFrame, Lane } from "@causeway/core-wire";
import { expect, test } from "vitest";
import type { Connector, GatewayLink } from "../connector.ts";
import { DirectLink } from "../direct/direct-link.ts";
import { directLimits } from "../direct/limits.ts";
import { TestDomain } from "../testing/index.ts";
import { directPort } from "./direct-port.ts";

const alice = parseAgentId("blue.example/travel/alice");
const bob = parseAgentId("blue.example/hotels/bob");
const domain = new TestDomain("blue.example", () => asUnixMs(Date.now()));
const trust = new TrustStore(nodeCrypto);
trust.replace(create(aca.TrustStateSchema, { sequence: 1n, bundles: [domain.bundle()] }));

/** What the port asks of the keeper of an agent's identity. */
function keeperOf(agent: AgentId): Parameters<typeof directPort>[0] {
  const identity = domain.issue(agent) as unknown as IdentityKeeper["identity"];
  return { spiffeId: agent, domain: domain.name, identity, trust, onRenewed: () => () => undefined };
}

interface Side {
  readonly self: AgentId;
  readonly link: GatewayLink;
  readonly target?: AgentId;
  readonly onMessage: (envelope: agp.Envelope) => Promise<void>;
}

function directLink({ self, link, target, onMessage }: Side): DirectLink {
  const ports = {
    connector: {
      scheduler: createScheduler(),
      log: silentLog,
      identity: { trust },
      nextTurn: (run) => void setImmediate(run),
    } as Pick<Connector, "scheduler" | "log" | "nextTurn"> as Connector,
    self,
    source: self,
    limits: directLimits,
    isWithoutGateway: () => false,
    onMessage,
    onControl: () => undefined,
    onHello: () => undefined,
    onEnd: () => undefined,
  };
  return new DirectLink(ports, link, target);
}

/** Both ends of a link, as an agent that dials and one that listens have them. */
async function openPair(onMessage: (envelope: agp.Envelope) => Promise<void>) {
  const taken = Promise.withResolvers<GatewayLink>();
  const listener = await directPort(keeperOf(bob), { listen: { host: "127.0.0.1", port: 0 } }, silentLog).listen?.(
    taken.resolve,
  );
  if (!listener) throw new Error("the port does not listen");
  const dialled = await directPort(keeperOf(alice), {}, silentLog).dial(
    listener.url,
    bob,
    new AbortController().signal,
  );
  const dialling = directLink({ self: alice, link: dialled, target: bob, onMessage });
  const listening = directLink({ self: bob, link: await taken.promise, onMessage });
  await Promise.all([dialling.start(), listening.start()]);
  const close = async (): Promise<void> => {
    dialling.end();
    listening.end();
    await listener.close();
  };
  return { dialling, listening, close };
}

/** Shorter ones lie in a read whole, longer ones are put together of several. */
const sizes = [1, 300, 5_000, 40_000];
const turns = 24;
const { INTERACTIVE, BULK } = agp.TrafficClass;

/** The message of a turn: every byte of it is another than in any other message. */
function messageOf(turn: number, trafficClass: agp.TrafficClass) {
  const mark = trafficClass === BULK ? 100 + turn : turn;
  const size = sizes[turn % sizes.length] as number;
  return { messageId: new Uint8Array(16).fill(mark), payload: new Uint8Array(size).fill(mark) };
}

test.each([{ from: "dials" }, { from: "listens" }])(
  "messages that are held over many turns stay what the agent that $from has sent",
  async ({ from }) => {
    const [source, target] = from === "dials" ? [alice, bob] : [bob, alice];
    const held: agp.Envelope[] = [];
    const handlers = Promise.withResolvers<void>();
    let onHeld: () => void = () => undefined;
    const pair = await openPair((envelope) => {
      held.push(envelope);
      onHeld();
      return handlers.promise;
    });
    const of = (wanted: agp.TrafficClass): agp.Envelope[] =>
      held.filter(({ header }) => header?.trafficClass === wanted);
    const until = (isThere: () => boolean): Promise<void> =>
      new Promise((resolve) => {
        onHeld = () => isThere() && resolve();
        onHeld();
      });
    try {
      const sender = from === "dials" ? pair.dialling : pair.listening;
      const names = { version: 1, hopTtl: 16, source, target, targetKind: agp.TargetKind.AGENT };
      for (let turn = 0; turn < turns; turn++) {
        for (const trafficClass of [BULK, INTERACTIVE]) {
          const { messageId, payload } = messageOf(turn, trafficClass);
          const frame = encodeMessageFrame({ ...names, messageId, trafficClass }, payload);
          await sender.transmit(frame, trafficClass === BULK ? Lane.bulk : Lane.urgent);
        }
        // Not before it is there: each is read in a turn of its own.
        await until(() => of(INTERACTIVE).length > turn);
      }
      // Bulk behind the first part of it waits until that was handled.
      handlers.resolve();
      await until(() => of(BULK).length === turns);
      for (const trafficClass of [INTERACTIVE, BULK]) {
        const received = of(trafficClass).map(({ header, payload }) => ({ messageId: header?.messageId, payload }));
        const sent = Array.from({ length: turns }, (_, turn) => messageOf(turn, trafficClass));
        expect(received.map(digest)).toEqual(sent.map(digest));
      }
    } finally {
      handlers.resolve();
      await pair.close();
    }
  },
);

/** Short enough to be shown when it is wrong. */
function digest({ messageId, payload }: { messageId: Uint8Array | undefined; payload: Uint8Array }): string {
  const marks = (bytes: Uint8Array): string => [...new Set(bytes)].slice(0, 8).join(" ");
  return `${payload.length} bytes of ${marks(payload)} as message ${marks(messageId ?? new Uint8Array(0))}`;
}
