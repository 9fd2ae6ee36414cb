import { parseAgentId, parseSpiffeId } from "@causeway/core-base";
import { agp, encodeFrame, encodeMessageFrame, type FrameInit } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DirectEnds, readDirectFrame } from "./direct-frames.ts";

const self = parseAgentId("blue.example/travel/alice");
const peer = parseAgentId("blue.example/hotels/bob");
const other = "spiffe://blue.example/hotels/mallory";
const foreign = "spiffe://green.example/hotels/bob";
const ends: DirectEnds = { self, source: parseSpiffeId(`${self}/@one`), peer, peerName: peer };
const id = new Uint8Array(16).fill(7);

const header = (more: object = {}) => ({
  version: 1,
  hopTtl: 16,
  targetKind: agp.TargetKind.AGENT,
  target: self as string,
  source: peer as string,
  messageId: id,
  ...more,
});
const message = (more: object = {}): Uint8Array => encodeMessageFrame(header(more), Uint8Array.of(0, 1));
type ControlBody = Extract<FrameInit, { case: "control" }>["value"]["body"];
const control = (body: ControlBody, more: object = {}): Uint8Array =>
  encodeFrame({ case: "control", value: { header: header(more), requestId: id, body: body as ControlBody & {} } });
const hello = (source: string, target: string): Uint8Array =>
  encodeFrame({ case: "directHello", value: { source, target, withoutGateway: true } });

const codeOf = (bytes: Uint8Array, more: Partial<DirectEnds> = {}): string => {
  try {
    return readDirectFrame(bytes, { ...ends, ...more }).kind;
  } catch (thrown) {
    return (thrown as { code: string }).code;
  }
};

describe("over a direct link come", () => {
  test("messages, of the certified agent to this one alone [ANA-95]", () => {
    expect([codeOf(message()), codeOf(message({ target: ends.source }))]).toEqual(["message", "message"]);
    const wrong = [
      { source: other },
      { source: foreign },
      { source: `${peer}/@two` },
      { target: other },
      { target: `${self}/@two` },
      { target: foreign },
    ];
    for (const names of wrong) expect(codeOf(message(names)), JSON.stringify(names)).toBe("CAUSEWAY_IDENTITY_MISMATCH");
    const topic = { targetKind: agp.TargetKind.TOPIC, target: "blue.example/travel/alice/news" };
    expect(codeOf(message(topic))).toBe("CAUSEWAY_HEADER_INVALID");
  });

  test("a hello first, by the agent of the certificate, which keeps its name", () => {
    const before = { peerName: undefined };
    expect(codeOf(hello(`${peer}/@two`, self), before)).toBe("hello");
    expect(codeOf(hello(peer, self))).toBe("hello");
    expect(codeOf(message(), before)).toBe("CAUSEWAY_FRAME_UNEXPECTED");
    for (const [source, target] of [
      [other, self],
      [foreign, self],
      ["", self],
      ["x", self],
      [peer, other],
      [peer, ""],
    ] as const)
      expect(codeOf(hello(source, target), before), `${source} to ${target}`).toBe("CAUSEWAY_IDENTITY_MISMATCH");
    expect(codeOf(hello(`${peer}/@three`, self))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
  });

  test("key packages and the report of a lost context, and nothing that only gateways say", () => {
    expect(codeOf(control({ case: "keyPackageFetch", value: { suite: 1 } }))).toBe("control");
    expect(codeOf(control({ case: "keyPackageResult", value: {} }))).toBe("control");
    const lost = { code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN", message: "m" };
    expect(codeOf(control({ case: "deliveryReport", value: { messageId: id, error: lost } }))).toBe("control");
    const bodies: ControlBody[] = [
      { case: "deliveryReport", value: { messageId: id, fate: agp.Fate.STORED } },
      { case: "deliveryReport", value: { messageId: id, fate: agp.Fate.ACCEPTED, error: lost } },
      {
        case: "deliveryReport",
        value: { messageId: id, error: { code: "CAUSEWAY_FORWARDING_NO_ROUTE", message: "m" } },
      },
      { case: "commitSubmit", value: {} },
      { case: "commitResult", value: {} },
      { case: "handshakeFetch", value: {} },
      { case: "handshakeResult", value: {} },
      { case: "mailboxTransfer", value: {} },
    ];
    for (const body of bodies) expect(codeOf(control(body)), body?.case).toBe("CAUSEWAY_FRAME_UNEXPECTED");
    expect(codeOf(control({ case: "keyPackageFetch", value: {} }, { source: other }))).toBe(
      "CAUSEWAY_IDENTITY_MISMATCH",
    );
    const frames: FrameInit[] = [
      { case: "attachHello", value: {} },
      { case: "attachLease", value: {} },
      { case: "drain", value: {} },
      { case: "peerOpen", value: {} },
      { case: "event", value: {} },
    ];
    for (const frame of frames) expect(codeOf(encodeFrame(frame)), frame.case).toBe("CAUSEWAY_FRAME_UNEXPECTED");
  });

  test("any bytes, which are refused with a typed error or read", () => {
    const samples = [message(), hello(peer, self), control({ case: "keyPackageFetch", value: { suite: 1 } })];
    const damaged = fc
      .tuple(fc.constantFrom(...samples), fc.nat(), fc.nat(255), fc.nat(4))
      .map(([sample, at, value, cut]) => {
        const bytes = sample.slice(0, sample.length - cut);
        bytes[at % bytes.length] = value;
        return bytes;
      });
    const known = /^(hello|message|control|CAUSEWAY_(FRAME|HEADER|FORWARDING|IDENTITY)_[A-Z_]+)$/;
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 300 })), (bytes) => {
        expect(codeOf(bytes)).toMatch(known);
      }),
      { numRuns: 3_000 },
    );
  });
});
