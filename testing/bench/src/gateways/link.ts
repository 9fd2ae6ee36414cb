/** Relays every frame of one end to the other. */
import { createPort, type Link } from "@causeway/adapter-h2";
import type { IdentityMaterial } from "../certificates.ts";
import { serverSide, trustFrom } from "../identity.ts";
import { startedByHarness } from "./started-by-harness.ts";

startedByHarness(async (settings) => {
  const { identity, trustState } = settings as { identity: IdentityMaterial; trustState: string };
  const links = new Map<string, Link>();
  const port = createPort({
    ...serverSide(identity, trustFrom(trustState)),
    port: 0,
    onLink(link) {
      const own = link.peer.spiffeId;
      const other = own.endsWith("/sender") ? own.replace(/sender$/, "receiver") : own.replace(/receiver$/, "sender");
      links.set(own, link);
      link.onFrames((frames) => {
        const target = links.get(other);
        if (target === undefined) return;
        let isTaking = true;
        for (const { buffer, start: from, end } of frames) isTaking = target.send(buffer, from, end);
        if (!isTaking) link.pause();
      });
      link.onWritable(() => links.get(other)?.resume());
      link.onClose(() => links.delete(own));
    },
  });
  return { url: (await port.start()).url };
});
