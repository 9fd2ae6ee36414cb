/** Attaching as somebody else, and messages that say what is not so. */
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { FrameKind, wrapFrame } from "@causeway/core-wire";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { configOf, enrol, identityIn } from "../adversary/credentials.ts";
import type { Scene } from "../adversary/scene.ts";
import type { ServiceLog } from "../adversary/service-log.ts";
import { helloBody, type LinkOwner, ownerOf, privateMessage, WireLink } from "../adversary/wire-link.ts";

/** Registers the tests; `world` gives the scene once it has started. */
export function attachAsSomebodyElse(world: () => Scene): void {
  let scene: Scene;
  let keepers: readonly IdentityKeeper[] = [];
  let mallory: LinkOwner;
  let url: string;
  let log: ServiceLog;
  /** Whom the culprit writes to: what reaches it shows what gateways let through. */
  let receiver: WireLink;

  beforeAll(async () => {
    scene = world();
    keepers = await Promise.all([
      enrol(scene.world, "blue.example/people/mallory"),
      enrol(scene.world, "blue.example/people/friend-of-mallory"),
    ]);
    const [first, second] = keepers.map(ownerOf);
    if (first === undefined || second === undefined) throw new Error("not enrolled");
    mallory = first;
    url = configOf(scene.world, "blue.example/").gateways[0]?.url ?? "";
    receiver = await WireLink.attached(url, second);
    log = scene.log("blue.example/gw1");
  }, 120_000);

  beforeEach(() => {
    log.forget();
    receiver.received.length = 0;
  });

  afterAll(async () => {
    receiver?.link.close();
    await Promise.all(keepers.map((keeper) => keeper.stop()));
  });

  const delivered = (): number => receiver.bodies.filter((body) => body.case === "message").length;
  const toReceiver = (wire: WireLink, payload: Uint8Array, header = {}): Uint8Array =>
    wire.message(receiver.owner.spiffeId, payload, header);

  describe("attaching as somebody, without being it", () => {
    test("another agent's id in the hello is refused, whoever is there already stays [AAP-63, ANA-43]", async () => {
      await scene.harmless(async () => {
        using wire = await WireLink.open(url, mallory);
        wire.send(wrapFrame(FrameKind.attachHello, helloBody(scene.alice.id)));
        await wire.refusal("CAUSEWAY_IDENTITY_MISMATCH");
        expect(await wire.closed()).toBe("CAUSEWAY_IDENTITY_MISMATCH");
      });
      await log.expect("attachment.agent_refused", { subject: /mallory/, cause: /CAUSEWAY_IDENTITY_MISMATCH/ });
    });

    test("a hello and a proof that were recorded are worth nothing on a second connection [AAP-63]", async () => {
      const first = await WireLink.attached(url, mallory);
      const { hello, proof } = first.handshake;
      first.link.close();
      await first.closed();
      await scene.harmless(async () => {
        using replayed = await WireLink.open(url, mallory);
        replayed.send(hello, proof);
        await replayed.refusal("CAUSEWAY_ATTACHMENT_PROOF_INVALID");
        expect(await replayed.closed()).toBe("CAUSEWAY_ATTACHMENT_PROOF_INVALID");
      });
      await log.expect("attachment.agent_refused", { subject: /mallory/, cause: /PROOF_INVALID: this nonce was used/ });
      await scene.harmless(async () => {
        using fresh = await WireLink.open(url, mallory);
        fresh.send(wrapFrame(FrameKind.attachHello, helloBody(mallory.spiffeId)));
        await fresh.frame(FrameKind.attachChallenge);
        fresh.send(proof);
        await fresh.refusal("CAUSEWAY_ATTACHMENT_PROOF_INVALID");
      });
      await log.expect("attachment.agent_refused", { subject: /mallory/, cause: /PROOF_INVALID: the proof is not/ });
    });

    test("a right signature made for another connection proves nothing [AAP-63]", async () => {
      await scene.harmless(async () => {
        using here = await WireLink.open(url, mallory);
        using elsewhere = await WireLink.open(url, mallory);
        const hello = helloBody(mallory.spiffeId);
        here.send(wrapFrame(FrameKind.attachHello, hello));
        const challenge = await here.frame(FrameKind.attachChallenge);
        const signature = elsewhere.prove(hello, challenge.body());
        here.sendBody({ case: "attachProof", value: { signature } });
        await here.refusal("CAUSEWAY_ATTACHMENT_PROOF_INVALID");
      });
      await log.expect("attachment.agent_refused", { cause: /CAUSEWAY_ATTACHMENT_PROOF_INVALID/ });
    });

    test("nothing is taken before the attachment, and after a refusal there is none [AAP-54]", async () => {
      await scene.harmless(async () => {
        using wire = await WireLink.open(url, mallory);
        wire.send(toReceiver(wire, privateMessage("too early")));
        await wire.refusal("CAUSEWAY_ATTACHMENT_REQUIRED");
        expect(await wire.closed()).toBe("CAUSEWAY_ATTACHMENT_REQUIRED");
        expect(delivered()).toBe(0);
      });
      await log.expect("gateway.frame_refused", { from: mallory.spiffeId, code: "CAUSEWAY_ATTACHMENT_REQUIRED" });
    });

    test("a second hello on an attached link ends that attachment, and no other", async () => {
      await scene.harmless(async () => {
        using wire = await WireLink.attached(url, mallory);
        wire.send(wire.handshake.hello);
        await wire.frame(FrameKind.sessionEnd);
        expect(wire.bodies.at(-1)).toMatchObject({ value: { error: { code: "CAUSEWAY_FRAME_UNEXPECTED" } } });
      });
      await log.expect("attachment.agent_removed", { subject: /mallory/, cause: /AttachHello does not fit/ });
    });
  });

  describe("messages that say what is not so", () => {
    test("the way itself is open: an honest message arrives", async () => {
      using wire = await WireLink.attached(url, mallory);
      wire.send(toReceiver(wire, privateMessage("hello")));
      await receiver.frame(FrameKind.message);
      expect(delivered()).toBe(1);
    });

    test("another agent's id as source is refused, its owner hears nothing of it [AAP-42, ANA-43]", async () => {
      await scene.harmless(async () => {
        using wire = await WireLink.attached(url, mallory);
        for (const source of [scene.alice.id, scene.bob.id, receiver.owner.spiffeId])
          wire.send(toReceiver(wire, privateMessage("I am somebody else"), { source }));
        await wire.settled();
        expect(wire.reports.slice(0, 3)).toEqual(Array.from({ length: 3 }, () => "CAUSEWAY_IDENTITY_MISMATCH"));
        expect(receiver.bodies).toEqual([]);
      });
      await log.expect("forwarding.source_forged", { from: mallory.spiffeId, source: scene.alice.id });
      await log.expect("forwarding.source_forged", { from: mallory.spiffeId, source: scene.bob.id });
    });

    const mls = (format: number): Uint8Array => {
      const bytes = privateMessage("the framing of something else");
      bytes[3] = format;
      return bytes;
    };
    test.for([
      ["a plaintext", new TextEncoder().encode("plain text, readable by everybody on the way")],
      ["a JSON-RPC request", new TextEncoder().encode('{"jsonrpc":"2.0","id":1,"method":"message/send"}')],
      ["nothing", new Uint8Array()],
      ["an MLS public message", mls(1)],
      ["an MLS group info", mls(4)],
      ["an MLS key package", mls(5)],
      ["an MLS private message with plaintext after it", Buffer.concat([privateMessage("x"), Buffer.from("and more")])],
    ] as const)("%s as payload is refused [AGP-55]", async ([, payload]) => {
      await scene.harmless(async () => {
        using wire = await WireLink.attached(url, mallory);
        wire.send(toReceiver(wire, Uint8Array.from(payload)));
        await wire.refusal("CAUSEWAY_PAYLOAD_NOT_MLS");
        await wire.settled();
        expect(delivered()).toBe(0);
        expect(wire.end).toBeUndefined();
      });
      await log.expect("forwarding.plaintext_refused", { from: mallory.spiffeId });
    });

    test("a message that nobody can take is answered to its sender: expired, out of hops, to nobody", async () => {
      await scene.harmless(async () => {
        using wire = await WireLink.attached(url, mallory);
        wire.send(
          toReceiver(wire, privateMessage("late"), { expiresUnixMs: 1n }),
          wire.message(scene.bob.id, privateMessage("far"), { hopTtl: 1 }),
          wire.message("spiffe://blue.example/people/nobody", privateMessage("who")),
        );
        for (const code of ["EXPIRED", "TTL_EXHAUSTED", "NO_ROUTE"]) await wire.refusal(`CAUSEWAY_FORWARDING_${code}`);
        expect(delivered()).toBe(0);
      });
    });
  });

  describe("somebody who is no agent", () => {
    test("an operator's certificate opens no link", async () => {
      const operator = await identityIn(configOf(scene.world, "blue.example/"), "operator");
      const tls = operator.tls();
      await scene.harmless(async () => {
        const wire = await WireLink.open(url, { ...mallory, tls });
        expect(await wire.closed()).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
      });
      await log.expect("gateway.link_refused", { role: "operator" });
    });
  });
}
