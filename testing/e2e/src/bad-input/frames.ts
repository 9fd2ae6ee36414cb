/** Frames that a gateway cannot take, and streams that are no gRPC. */
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { encodeFrame, encodeGrpcMessage, FrameKind, wireLimits, wrapFrame } from "@causeway/core-wire";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { configOf, enrol } from "../adversary/credentials.ts";
import { type RawEnd, RawSession } from "../adversary/raw-session.ts";
import type { Scene } from "../adversary/scene.ts";
import type { ServiceLog } from "../adversary/service-log.ts";
import { type LinkOwner, ownerOf, privateMessage, WireLink } from "../adversary/wire-link.ts";

/** Registers the tests; `world` gives the scene once it has started. */
export function sendBadFrames(world: () => Scene): void {
  const name = "blue.example/people/mallory";

  let scene: Scene;
  let keeper: IdentityKeeper;
  let mallory: LinkOwner;
  let url: string;
  let log: ServiceLog;

  beforeAll(async () => {
    scene = world();
    keeper = await enrol(scene.world, name);
    mallory = ownerOf(keeper);
    url = configOf(scene.world, name).gateways[0]?.url ?? "";
    log = scene.log("blue.example/gw1");
  }, 120_000);

  beforeEach(() => log.forget());

  afterAll(async () => {
    await keeper?.stop();
  });

  /** What an attached link hears to these frames. */
  async function answerTo(...frames: readonly Uint8Array[]): Promise<WireLink> {
    const wire = await WireLink.attached(url, mallory);
    wire.send(...frames);
    return wire;
  }

  const toBob = (wire: WireLink, payload = privateMessage("hello"), header = {}): Uint8Array =>
    wire.message(scene.bob.id, payload, header);

  describe("frames that a gateway cannot take", () => {
    const malformed: readonly (readonly [string, Uint8Array])[] = [
      ["bytes that are no frame", Uint8Array.of(0xff, 0xff, 0xff, 0xff)],
      ["an empty frame", new Uint8Array()],
      ["a body of a wrong type", wrapFrame(FrameKind.subscribe, Uint8Array.of(0x12, 0x7f))],
      [
        "two bodies in one frame",
        Buffer.concat([wrapFrame(FrameKind.drain, new Uint8Array()), wrapFrame(FrameKind.drain, new Uint8Array())]),
      ],
    ];
    test.for(malformed)("malformed: %s", async ([, frame]) => {
      await scene.harmless(async () => {
        using wire = await answerTo(frame);
        await wire.refusal("CAUSEWAY_FRAME_MALFORMED");
        expect(await wire.closed()).toBe("CAUSEWAY_FRAME_MALFORMED");
      });
      await log.expect("gateway.frame_refused", { from: mallory.spiffeId, code: "CAUSEWAY_FRAME_MALFORMED" });
    });

    test("truncated: a message frame that ends in the middle of its header", async () => {
      await scene.harmless(async () => {
        using wire = await WireLink.attached(url, mallory);
        wire.send(toBob(wire).subarray(0, 40));
        expect(await wire.closed()).toBe("CAUSEWAY_FRAME_MALFORMED");
      });
      await log.expect("gateway.frame_refused", { from: mallory.spiffeId, code: "CAUSEWAY_FRAME_MALFORMED" });
    });

    test("unknown: a frame of a later version is answered, and the link goes on", async () => {
      await scene.harmless(async () => {
        using wire = await answerTo(wrapFrame(99, new Uint8Array(3)));
        await wire.refusal("CAUSEWAY_FRAME_UNKNOWN");
        await wire.settled();
        expect(wire.end).toBeUndefined();
      });
      await log.expect("gateway.frame_refused", { from: mallory.spiffeId, code: "CAUSEWAY_FRAME_UNKNOWN" });
    });

    test("unexpected: a stream's frame and a neighbour's frame are refused, and the link goes on", async () => {
      await scene.harmless(async () => {
        using wire = await answerTo(
          encodeFrame({ case: "streamData", value: { stream: 1n } }),
          encodeFrame({ case: "peerOpen", value: { gatewayUri: "https://gw1.blue.example/amsp", level: 2 } }),
        );
        await wire.refusal("CAUSEWAY_UNSUPPORTED");
        await wire.refusal("CAUSEWAY_FRAME_UNEXPECTED");
        await wire.settled();
        expect(wire.end).toBeUndefined();
      });
      await log.expect("gateway.frame_refused", { from: mallory.spiffeId, code: "CAUSEWAY_UNSUPPORTED" });
      await log.expect("gateway.frame_refused", { from: mallory.spiffeId, code: "CAUSEWAY_FRAME_UNEXPECTED" });
    });

    test("oversized: a message over 4 MiB is refused and not delivered", async () => {
      await scene.harmless(async () => {
        using wire = await WireLink.attached(url, mallory);
        wire.send(toBob(wire, new Uint8Array(wireLimits.payloadBytesMax + 1)));
        await wire.refusal("CAUSEWAY_FORWARDING_TOO_LARGE");
      });
      await log.expect("gateway.frame_refused", { from: mallory.spiffeId, code: "CAUSEWAY_FORWARDING_TOO_LARGE" });
    });

    test("a header that breaks the rules: no id, a name that is none, a TTL beyond the bound", async () => {
      await scene.harmless(async () => {
        using wire = await WireLink.attached(url, mallory);
        wire.send(
          toBob(wire, undefined, { messageId: new Uint8Array(3) }),
          wire.message("spiffe://blue.example/a//b", privateMessage("x")),
          toBob(wire, undefined, { hopTtl: 1_000 }),
        );
        await wire.settled();
        expect(wire.errors).toEqual(Array.from({ length: 3 }, () => "CAUSEWAY_HEADER_INVALID"));
      });
      await log.expect("gateway.frame_refused", { from: mallory.spiffeId, code: "CAUSEWAY_HEADER_INVALID" });
    });
  });

  describe("streams that are no gRPC", () => {
    async function raw(
      write: (stream: ReturnType<RawSession["request"]>["stream"]) => void,
      headers = {},
    ): Promise<RawEnd> {
      using session = RawSession.open(url, mallory.tls, keeper.trust);
      const { stream, ended } = session.request(headers);
      write(stream);
      return await ended;
    }
    const prefix = (flags: number, length: number): Buffer => {
      const bytes = Buffer.alloc(5, flags);
      bytes.writeUInt32BE(length, 1);
      return bytes;
    };

    test("a frame that is announced larger than the limit is refused before its bytes come", async () => {
      const end = await scene.harmless(() => raw((stream) => stream.write(prefix(0, wireLimits.frameBytesMax + 1))));
      expect(end).toMatchObject({ code: "CAUSEWAY_FRAME_TOO_LARGE", status: "8" });
      await log.expect("h2.link_failed", { peer: mallory.spiffeId, code: "CAUSEWAY_FRAME_TOO_LARGE" });
    });

    test.for([
      ["ends inside a frame", Buffer.concat([prefix(0, 100), Buffer.from("short")])],
      ["ends inside a prefix", Buffer.from([0, 0])],
      ["has the compressed flag", Buffer.concat([prefix(1, 2), Buffer.from("no")])],
    ] as const)("a stream that %s", async ([, bytes]) => {
      const end = await scene.harmless(() => raw((stream) => stream.end(bytes)));
      expect(end).toMatchObject({ code: "CAUSEWAY_FRAME_MALFORMED", status: "3" });
      await log.expect("h2.link_failed", { peer: mallory.spiffeId, code: "CAUSEWAY_FRAME_MALFORMED" });
    });

    test("requests that ask for a Link in another way, or for something that does not exist", async () => {
      await scene.harmless(async () => {
        const headers = [
          { "grpc-encoding": "gzip" },
          { ":path": "/causeway.agp.v1.AgentGatewayService/Unknown" },
          { "content-type": "application/json" },
          { ":method": "GET" },
          { ":path": "/etc/passwd", "content-type": "text/plain" },
        ];
        const ends = await Promise.all(headers.map((each) => raw((stream) => stream.end(), each)));
        expect(ends.map(({ code, httpStatus }) => code ?? httpStatus)).toEqual([
          "CAUSEWAY_UNSUPPORTED",
          "CAUSEWAY_UNSUPPORTED",
          415,
          405,
          404,
        ]);
      });
      await log.expect("h2.request_refused", { peer: mallory.spiffeId, path: "/etc/passwd" });
    });

    test("a call whose body does not decode", async () => {
      const path = "/causeway.aap.v1.DiscoveryService/Discover";
      const end = await scene.harmless(() =>
        raw((stream) => stream.end(encodeGrpcMessage(Uint8Array.of(0xff, 0xff))), { ":path": path }),
      );
      expect(end.status).toBe("3");
      expect(end.code).toBe("CAUSEWAY_FRAME_MALFORMED");
      await log.expect("h2.call_refused", { peer: mallory.spiffeId, code: "CAUSEWAY_FRAME_MALFORMED" });
    });
  });
}
