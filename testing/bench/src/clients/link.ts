/** Plain frames on a link, for the relay without a gateway service. */
import { type Link, openLink } from "@causeway/adapter-h2";
import type { IdentityMaterial } from "../certificates.ts";
import { clientSide, tlsFacts, trustFrom } from "../identity.ts";
import type { OpenEnd, RelayEnd } from "../system.ts";

export const openEnd: OpenEnd = async (settings) => {
  const { url, identity, trustState } = settings as { url: string; identity: IdentityMaterial; trustState: string };
  const link = await openLink(clientSide(url, identity, trustFrom(trustState)));
  return endOn(link, (bytes) => Buffer.alloc(bytes, 0x61));
};

/** An end that sends the same frame again and again. */
export function endOn(link: Link, frameOf: (payloadBytes: number) => Uint8Array): RelayEnd {
  let frame: Uint8Array = Buffer.alloc(0);
  let deliver: (count: number) => void = () => undefined;
  link.onFrames((frames) => deliver(frames.length));
  link.onClose((error) => {
    if (error !== undefined) process.send?.({ failed: `the link was closed: ${error.code} ${error.message}` });
  });
  return {
    facts: tlsFacts,
    prepareSize(bytes) {
      frame = frameOf(bytes);
    },
    send: () => link.send(frame),
    onWritable: (run) => link.onWritable(run),
    onReceive(run) {
      deliver = run;
    },
  };
}
