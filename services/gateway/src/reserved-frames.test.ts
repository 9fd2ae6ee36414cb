import { encodeFrame, FrameKind, wrapFrame } from "@causeway/core-wire";
import { beforeEach, describe, expect, test } from "vitest";
import { settle } from "./testing/manual-scheduler.ts";
import type { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let bob: TestAgent;

async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  await agent.advertise();
  await world.scheduler.advance(1_000);
  return agent;
}

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  alice = await known(net.blue1, "blue.example/travel/alice");
  bob = await known(net.green1, "green.example/hotels/bob");
});

const frames: readonly (readonly [string, Uint8Array, string])[] = [
  ["StreamOpen", encodeFrame({ case: "streamOpen", value: { stream: 1n } }), "CAUSEWAY_UNSUPPORTED"],
  ["StreamData", encodeFrame({ case: "streamData", value: { stream: 1n } }), "CAUSEWAY_UNSUPPORTED"],
  ["StreamHalfClose", encodeFrame({ case: "streamHalfClose", value: { stream: 1n } }), "CAUSEWAY_UNSUPPORTED"],
  ["StreamReset", encodeFrame({ case: "streamReset", value: { stream: 1n } }), "CAUSEWAY_UNSUPPORTED"],
  ["a StreamOpen whose body is no message", wrapFrame(26, Uint8Array.of(0xff)), "CAUSEWAY_UNSUPPORTED"],
  ["DirectHello", encodeFrame({ case: "directHello", value: { source: "x" } }), "CAUSEWAY_FRAME_UNEXPECTED"],
  [
    "the next free kind",
    wrapFrame(Math.max(...Object.values(FrameKind)) + 1, new Uint8Array()),
    "CAUSEWAY_FRAME_UNKNOWN",
  ],
  ["a kind of the far future", wrapFrame(9_999, Uint8Array.of(1, 2, 3)), "CAUSEWAY_FRAME_UNKNOWN"],
];

/** All that a frame could change: the gateway's facts, its log without refusals, and what went to anybody. */
function factsOf(at: WorldGateway): unknown {
  const { counters, ...status } = at.gateway?.status() ?? { counters: {} };
  const others = Object.entries(counters).filter(([name]) => !name.startsWith("frames_refused_"));
  const table = at.gateway?.inspect().table;
  const events = at.log.map((line) => line.event).filter((event) => !/frame_refused|error_received/.test(event));
  const packages = at.store.keyPackageCount(alice.agentId);
  return { status, others, routes: table?.snapshot(), attachments: table?.attachments(), events, packages };
}

const everywhere = (): unknown => [net.blue1, net.blue2, net.green1, net.green2].map(factsOf);
const codeOf = (at: WorldGateway, event: string): unknown =>
  at.log.findLast((line) => line.event === event)?.fields["code"];

describe("reserved and unknown frames get a typed answer and have no other effect", () => {
  test.each(frames)("%s from an agent", async (_name, frame, code) => {
    const before = everywhere();
    const seen = bob.inbox.length;
    alice.link?.send(frame);
    await settle();
    expect(alice.errors).toEqual([code]);
    expect(alice.inbox.at(-1)).toMatchObject({ case: "error", value: { fatal: false } });
    expect(codeOf(net.blue1, "gateway.frame_refused")).toBe(code);
    expect(everywhere()).toEqual(before);
    expect(bob.inbox).toHaveLength(seen);
    await alice.message(bob.agentId, "the link goes on");
    expect(bob.messages).toEqual(["the link goes on"]);
  });

  test.each(frames)("%s from a neighbour", async (_name, frame, code) => {
    const before = everywhere();
    net.blue2.peerLinks.get(net.green2.uri)?.send(frame);
    await settle();
    expect(codeOf(net.green2, "gateway.frame_refused")).toBe(code);
    expect(codeOf(net.blue2, "peer.error_received")).toBe(code);
    expect(everywhere()).toEqual(before);
    await alice.message(bob.agentId, "the link goes on");
    expect(bob.messages).toEqual(["the link goes on"]);
  });
});
