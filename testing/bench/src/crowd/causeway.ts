/** Attached agents with ready-made frames, many to a process. */
import { systemRandom } from "@causeway/adapter-clock";
import { parseAgentId } from "@causeway/core-base";
import type { TrustStore } from "@causeway/core-identity";
import {
  agp,
  encodeFrame,
  encodeMessageFrame,
  FrameScan,
  HeaderFlag,
  newMessageId,
  scanFrame,
  TargetKind,
} from "@causeway/core-wire";
import { AttachedAgent } from "../clients/causeway.ts";
import { privateMessage } from "../clients/private-message.ts";
import { clock, trustFrom } from "../identity.ts";
import type { OpenCrowdEnd } from "./end.ts";

let trust: TrustStore | undefined;

export const openEnd: OpenCrowdEnd = async (settings, { identity, instance, target, subscribe, isStored = false }) => {
  const { url, trustState } = settings as { url: string; trustState: string };
  if (identity === undefined) throw new Error("expected an identity");
  trust ??= trustFrom(trustState);
  const source = parseAgentId(identity.spiffeId);
  const agent = new AttachedAgent(source, identity, trust, url, instance);
  const link = await agent.attach();
  if (subscribe !== undefined) {
    const answered = new Promise<string | undefined>((resolve) => {
      agent.onSubscribed = resolve;
    });
    link.send(encodeFrame({ case: "subscribe", value: { request: 1n, topic: subscribe } }));
    const refusal = await answered;
    if (refusal !== undefined) throw new Error(`not subscribed: ${refusal}`);
  }
  agent.mayBeRefused = target !== undefined && "topic" in target;
  const isTopic = target !== undefined && "topic" in target;
  let frame: Buffer = Buffer.alloc(0);
  let idAt = 0;
  let count = 0;
  return {
    prepareSize(bytes) {
      const header = {
        version: 1,
        targetKind: isTopic ? TargetKind.topic : TargetKind.agent,
        target: target === undefined ? source : "topic" in target ? target.topic : parseAgentId(target.agent),
        source,
        messageId: newMessageId(systemRandom, clock()),
        hopTtl: 16,
        trafficClass: 1,
        deliveryMode: isStored ? agp.DeliveryMode.RELIABLE : agp.DeliveryMode.BEST_EFFORT,
        flags: isStored ? HeaderFlag.stored : 0,
      };
      frame = Buffer.from(encodeMessageFrame(header, privateMessage(bytes)));
      const scan = new FrameScan();
      scanFrame(frame, 0, frame.length, scan);
      idAt = scan.messageIdEnd - 4;
    },
    send() {
      if (!isTopic && !isStored) return link.send(frame);
      // A publication that a gateway has seen goes no further, and what is stored is stored once: each needs its own id.
      const own = Buffer.from(frame);
      own.writeUInt32BE(count++ >>> 0, idAt);
      return link.send(own);
    },
    onReceive(run) {
      if (isStored) agent.onStored = run;
      else agent.onMessages = run;
    },
    onWritable: (run) => link.onWritable(run),
    halt: () => link.pause(),
    resume: () => link.resume(),
  };
};
