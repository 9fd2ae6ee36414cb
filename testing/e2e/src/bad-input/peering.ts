/** A certified neighbour that lies. */
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { nodeCrypto } from "@causeway/adapter-keys";
import { asUnixMs, parseAgentId, parseGatewayUri } from "@causeway/core-base";
import { signOrigin } from "@causeway/core-records";
import { amsp, encodeGrpcMessage, type record } from "@causeway/core-wire";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { configOf, enrol } from "../adversary/credentials.ts";
import { forgeRecord, tampered } from "../adversary/forged-record.ts";
import { RawSession } from "../adversary/raw-session.ts";
import type { Scene } from "../adversary/scene.ts";
import type { ServiceLog } from "../adversary/service-log.ts";
import { SyncPeer } from "../adversary/sync-peer.ts";
import { ownerOf, privateMessage, WireLink } from "../adversary/wire-link.ts";
import { until } from "../world.ts";

/** Registers the tests; `world` gives the scene once it has started. */
export function lieAsNeighbour(world: () => Scene): void {
  /** A Level-2 gateway of the other company, rightly certified for its tools, that lies. */
  const uri = "https://mallory.green.example/amsp";
  const small = "https://small-mallory.blue.example/amsp";
  const own = "green.example/tools/tool-of-mallory";

  let scene: Scene;
  let gateway: IdentityKeeper;
  let levelOne: IdentityKeeper;
  let agent: IdentityKeeper;
  let log: ServiceLog;
  let url: string;

  beforeAll(async () => {
    scene = world();
    [gateway, levelOne, agent] = await Promise.all([
      enrol(scene.world, "green.example/gateway/mallory", { gateway: { uri, level: 2, namespaces: ["tools"] } }),
      enrol(scene.world, "blue.example/gateway/small-mallory", { gateway: { uri: small, level: 1 } }),
      enrol(scene.world, own),
    ]);
    url = configOf(scene.world, "blue.example/").gateways.find(({ level }) => level === 2)?.url ?? "";
    log = scene.log("blue.example/gw2");
  }, 120_000);

  beforeEach(() => log.forget());

  afterAll(async () => {
    await Promise.all([gateway, levelOne, agent].map((keeper) => keeper?.stop()));
  });

  const at = (keeper: IdentityKeeper, where = url) => ({ url: where, tls: keeper.identity.tls(), trust: keeper.trust });
  const open = (): Promise<SyncPeer> =>
    SyncPeer.open(at(gateway), { gatewayUri: uri, role: amsp.PeerRole.LEVEL2 }).established();

  let sequence = 0n;

  /** What mallory states about an agent, under its own origin unless told otherwise. */
  function announcement(
    signed: record.SignedRecord,
    agentId: string,
    origin = uri,
  ): Pick<amsp.Update, "record" | "origin"> {
    return {
      record: signed,
      origin: signOrigin(gateway.identity.signer("record"), {
        agentId: parseAgentId(agentId),
        origin: parseGatewayUri(origin),
        version: { epoch: 1n, sequence: ++sequence },
        status: "online",
        bodyDigest: nodeCrypto.sha256(signed.body),
        at: asUnixMs(Date.now()),
        withdrawn: false,
        attachmentSequence: 1n,
      }),
    };
  }

  const honest = () => announcement(forgeRecord(agent.identity.signer("record"), { agentId: `spiffe://${own}` }), own);

  /** Routes of the attacked gateway to an agent that go through mallory. */
  async function believed(agentId: string): Promise<number> {
    const [operator] = scene.world.network.operators;
    const [config] = operator.gateways("gw2");
    if (config === undefined) throw new Error("no gw2");
    const { routes } = await operator.gateway(config).listRoutes({ prefix: agentId });
    return routes.filter((route) => route.nextHop === uri || route.origin === uri).length;
  }

  describe("updates of a neighbour that lies", () => {
    test("an update without PATH is refused and the peer told [AMSP-75]", async () => {
      using peer = await open();
      await scene.harmless(async () => {
        expect(await peer.update(honest())).toBe("CAUSEWAY_SYNC_PATH_MISSING");
        expect(await believed(own)).toBe(0);
      });
      await log.expect("sync.update_refused", { peer: uri, code: "CAUSEWAY_SYNC_PATH_MISSING" });
      peer.leave();
    });

    test("a PATH whose first element is not the sender, or that is none, is refused [AMSP-77]", async () => {
      const honestGateway = "https://gw2.green.example/amsp";
      using peer = await open();
      const paths = [[honestGateway], [honestGateway, uri], [], [uri, uri], [uri, "not a URI"], Array(200).fill(uri)];
      await scene.harmless(async () => {
        for (const gateways of paths)
          expect(await peer.update({ ...honest(), path: { gateways } })).toBe("CAUSEWAY_SYNC_PATH_INVALID");
        expect(await believed(own)).toBe(0);
      });
      await log.expect("sync.update_refused", { peer: uri, code: "CAUSEWAY_SYNC_PATH_INVALID" });
      peer.leave();
    });

    test("an agent that is not the neighbour's to announce is refused: another domain's, another namespace's, another origin's [AMSP-108]", async () => {
      using peer = await open();
      const path = { gateways: [uri] };
      const alices = heldBody(peer, scene.alice.id);
      const bobs = heldBody(peer, scene.bob.id);
      const tool = forgeRecord(agent.identity.signer("record"), { agentId: `spiffe://${own}` });
      await scene.harmless(async () => {
        for (const update of [
          announcement(alices, scene.alice.id),
          announcement(bobs, scene.bob.id),
          announcement(tool, own, "https://gw1.green.example/amsp"),
        ])
          expect(await peer.update({ ...update, path })).toBe("CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED");
        for (const agentId of [scene.alice.id, scene.bob.id, own]) expect(await believed(agentId)).toBe(0);
      });
      await log.expect("sync.update_refused", { peer: uri, code: "CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED" });
      peer.leave();
    });

    test("a record that its agent did not sign, or that was changed on the way, is refused", async () => {
      using peer = await open();
      const path = { gateways: [uri] };
      const signed = forgeRecord(agent.identity.signer("record"), { agentId: `spiffe://${own}` });
      const byGateway = forgeRecord(gateway.identity.signer("record"), { agentId: `spiffe://${own}` });
      await scene.harmless(async () => {
        expect(await peer.update({ ...announcement(tampered(signed), own), path })).toBe(
          "CAUSEWAY_IDENTITY_SIGNATURE_INVALID",
        );
        expect(await peer.update({ ...announcement(byGateway, own), path })).toMatch(
          /^CAUSEWAY_(IDENTITY_ROLE_WRONG|RECORD_NOT_OWNER)$/,
        );
        const large = forgeRecord(agent.identity.signer("record"), {
          agentId: `spiffe://${own}`,
          description: "x".repeat(16_384),
        });
        expect(await peer.update({ ...announcement(large, own), path })).toBe("CAUSEWAY_RECORD_TOO_LARGE");
        expect(await believed(own)).toBe(0);
      });
      await log.expect("sync.update_refused", { peer: uri, code: "CAUSEWAY_IDENTITY_SIGNATURE_INVALID" });
      peer.leave();
    });

    test("an honest update of the same neighbour is taken, an older one does not replace it, and it goes with its teller", async () => {
      using peer = await open();
      const path = { gateways: [uri] };
      const [older, newer] = [honest(), honest()];
      await scene.harmless(async () => {
        expect(await peer.update({ ...newer, path })).toBeUndefined();
        expect(await believed(own)).toBe(1);
        await peer.update({ ...older, path });
        const { routes } = await adminOfGw2().listRoutes({ prefix: own });
        expect(routes.map((route) => route.sequence)).toEqual([sequence]);
        peer.leave();
        await until("the record to go with its teller", async () => (await believed(own)) === 0);
      });
    });
  });

  describe("neighbours who say that they are more than they are", () => {
    test("a certificate of Level 1 makes no Level-2 gateway, nor one with another name [AMSP-103]", async () => {
      await scene.harmless(async () => {
        using climber = SyncPeer.open(at(levelOne), { gatewayUri: small, role: amsp.PeerRole.LEVEL2 });
        expect(await climber.ended()).toBe("CAUSEWAY_SYNC_PEER_NOT_ALLOWED");
        using renamed = SyncPeer.open(at(levelOne), {
          gatewayUri: "https://gw1.blue.example/amsp",
          role: amsp.PeerRole.LEVEL1,
        });
        expect(await renamed.ended()).toBe("CAUSEWAY_IDENTITY_MISMATCH");
        using future = SyncPeer.open(at(levelOne), { gatewayUri: small, role: amsp.PeerRole.LEVEL1, version: 0 });
        expect(await future.ended()).toBe("CAUSEWAY_SYNC_VERSION_UNSUPPORTED");
        for (const { received } of [climber, renamed, future])
          expect(received.map(({ body }) => body.case)).not.toContain("update");
      });
      await log.expect("sync.peer_refused", { peer: small, code: "CAUSEWAY_SYNC_PEER_NOT_ALLOWED" });
      await log.expect("sync.peer_refused", { peer: small, code: "CAUSEWAY_IDENTITY_MISMATCH" });
    });

    test("a Level-1 gateway has no Level-1 neighbours, and none of another domain", async () => {
      const edges = scene.world.network.configs.map(
        (config) => config.gateways.find(({ level }) => level === 1)?.url ?? "",
      );
      const foreignCore = configOf(scene.world, "green.example/").gateways.find(({ level }) => level === 2)?.url ?? "";
      await scene.harmless(async () => {
        for (const where of [...edges, foreignCore]) {
          using peer = SyncPeer.open(at(levelOne, where), { gatewayUri: small, role: amsp.PeerRole.LEVEL1 });
          expect(await peer.ended()).toBe("CAUSEWAY_SYNC_PEER_NOT_ALLOWED");
          expect(peer.received.map(({ body }) => body.case)).not.toContain("update");
        }
      });
    });

    test("bytes that are no AMSP message end the session with a code", async () => {
      await scene.harmless(async () => {
        using session = RawSession.open(url, gateway.identity.tls(), gateway.trust);
        const { stream, ended } = session.request({ ":path": "/causeway.amsp.v1.SyncService/Session" });
        stream.write(encodeGrpcMessage(Uint8Array.of(0xff, 0xff, 0xff)));
        expect((await ended).code).toBe("CAUSEWAY_FRAME_MALFORMED");
      });
      await log.expect("sync.peer_refused", { peer: uri, code: "CAUSEWAY_FRAME_MALFORMED" });
    });

    const complete = { gatewayUri: uri, level: 2, features: ["agp/1"] };
    test("an introduction that lacks an item is refused with the item named, a false one with another reason [ANA-111, ANA-112, ANA-114]", async () => {
      const bad: readonly (readonly [string, RegExp, object])[] = [
        ["CAUSEWAY_SYNC_PEER_NOT_ALLOWED", /gateway_uri/, { ...complete, gatewayUri: "" }],
        ["CAUSEWAY_SYNC_PEER_NOT_ALLOWED", /level/, { ...complete, level: 0 }],
        ["CAUSEWAY_SYNC_PEER_NOT_ALLOWED", /features/, { ...complete, features: [] }],
        [
          "CAUSEWAY_SYNC_PEER_NOT_ALLOWED",
          /certified URI/,
          { ...complete, gatewayUri: "https://gw2.green.example/amsp" },
        ],
        ["CAUSEWAY_SYNC_PEER_NOT_ALLOWED", /certified level/, { ...complete, level: 1 }],
        ["CAUSEWAY_ATTACHMENT_FEATURE_MISSING", /agp\/1/, { ...complete, features: ["agp/9"] }],
      ];
      await scene.harmless(async () => {
        // The certificate is the fourth item: without it there is no connection to introduce oneself on.
        using nobody = RawSession.open(url, undefined, gateway.trust);
        expect(await nobody.refused).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING");
        for (const [code, item, value] of bad) {
          using wire = await WireLink.open(url, ownerOf(gateway));
          wire.sendBody({ case: "peerOpen", value });
          expect(await wire.closed()).toBe(code);
          expect(wire.end?.error?.message).toMatch(item);
          await log.expect("gateway.frame_refused", { from: gateway.spiffeId, code, reason: item });
        }
        const { peers } = await adminOfGw2().listPeers({});
        expect(peers.filter((peer) => peer.gatewayUri === uri && peer.linkState === "up")).toEqual([]);
      });
    });

    test("a neighbour of another domain cannot speak for an agent of ours", async () => {
      using wire = await WireLink.open(url, ownerOf(gateway));
      wire.sendBody({ case: "peerOpen", value: complete });
      await until("the introduction", () => wire.bodies.some((body) => body.case === "peerAccept"));
      await scene.harmless(async () => {
        wire.send(wire.message(scene.bob.id, privateMessage("not from alice"), { source: scene.alice.id }));
        await log.expect("forwarding.source_forged", { from: uri, source: scene.alice.id, target: scene.bob.id });
        wire.send(wire.message(scene.bob.id, new TextEncoder().encode("in the clear"), { source: `spiffe://${own}` }));
        await log.expect("forwarding.plaintext_refused", { from: uri });
      });
    });
  });

  const adminOfGw2 = () => {
    const [operator] = scene.world.network.operators;
    const [config] = operator.gateways("gw2");
    if (config === undefined) throw new Error("no gw2");
    return operator.gateway(config);
  };

  /** The record of an agent as the attacked gateway has told it. */
  function heldBody(peer: SyncPeer, agentId: string): record.SignedRecord {
    for (const { body } of peer.received) {
      if (body.case === "update" && body.value.record !== undefined && includes(body.value.record.body, agentId))
        return body.value.record;
    }
    throw new Error(`the gateway told nothing of ${agentId}`);
  }

  const includes = (bytes: Uint8Array, text: string): boolean => Buffer.from(bytes).includes(text);
}
