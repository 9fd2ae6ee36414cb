/** Somebody with a certificate who tries to attach without the right proof, or under another agent's name. */
import { create, toBinary } from "@bufbuild/protobuf";
import { aap, encodeFrame, FrameKind, FrameScan, scanFrame, wrapFrame } from "@causeway/core-wire";
import type { Pipe } from "./fabric.ts";
import { SeededRandom } from "./random.ts";
import type { World } from "./world.ts";

export const impostorName = "mallory";

export function startImpostor(world: World): void {
  const random = new SeededRandom(world.plan.seed, 6);
  const homes = [...world.gateways.values()].filter((g) => g.plan.role !== "reader");
  const again = (): void => {
    world.queue.push(world.now + random.wait(2_500), "impostor", () => {
      if (world.now >= world.plan.faultMs) return;
      world.fabric.dial(
        "attach",
        impostorName,
        random.pick(homes).name,
        (pipe) => attack(world, random, pipe),
        () => undefined,
      );
      again();
    });
  };
  again();
}

function attack(world: World, random: SeededRandom, pipe: Pipe): void {
  const own = world.agentPeer(impostorName).spiffeId;
  const victim = random.pick([...world.agents.values()]).agentId;
  const hello = toBinary(
    aap.AttachHelloSchema,
    create(aap.AttachHelloSchema, {
      agentId: random.chance(0.5) ? own : victim,
      instance: "main",
      nonce: random.bytes(32),
      features: ["agp/1", "mls/1", "topics/1"],
      model: aap.AttachmentModel.STATEFUL,
      attachmentSequence: 2n ** 60n,
      advertise: true,
    }),
  );
  pipe.handler = {
    message: (bytes) => {
      const scan = new FrameScan();
      if (scanFrame(bytes, 0, bytes.length, scan) !== undefined || scan.kind !== FrameKind.attachChallenge) return;
      pipe.send(encodeFrame({ case: "attachProof", value: { signature: random.bytes(32) } }));
    },
    closed: () => undefined,
  };
  pipe.send(wrapFrame(FrameKind.attachHello, hello));
}
