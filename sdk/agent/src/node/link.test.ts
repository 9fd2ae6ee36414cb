/** The link of an agent over real sockets: TLS 1.3, HTTP/2, one stream. */

import { create } from "@bufbuild/protobuf";
import { createPort, type Link } from "@causeway/adapter-h2";
import { nodeCrypto } from "@causeway/adapter-keys";
import { serverOptions, verifiedPeerOf } from "@causeway/adapter-tls";
import { asUnixMs } from "@causeway/core-base";
import { TrustStore } from "@causeway/core-identity";
import { aca, decodeFrame, encodeFrame } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { codeOf, TestDomain } from "../testing/index.ts";
import { dialLink } from "./transports.ts";

const now = () => asUnixMs(Date.now());

test("carries 10,000 frames each way at the same time, complete and in order [AGP-3]", async () => {
  const domain = new TestDomain("blue.example", now);
  const gateway = domain.issue("blue.example/gateway/gw", "gateway");
  const agent = domain.issue("blue.example/travel/booker");
  const trust = new TrustStore(nodeCrypto);
  trust.replace(create(aca.TrustStateSchema, { sequence: 1n, bundles: [domain.bundle()] }));
  const count = 10_000;
  const expected = Array.from({ length: count }, (_, i) => i);
  let served: Promise<readonly number[]> | undefined;
  const port = createPort({
    tls: () => serverOptions(gateway.tls()),
    port: 0,
    authenticate: (socket) => verifiedPeerOf(socket, trust, now()),
    onLink: (link) => {
      served = exchange(link, count);
    },
  });
  const { url } = await port.start();
  try {
    const expect_ = { roles: ["gateway"], domain: domain.name } as const;
    const link = await dialLink(
      { url, identity: () => agent.tls(), trust, expect: expect_ },
      new AbortController().signal,
    );
    expect(await exchange(link, count)).toEqual(expected);
    expect(await served).toEqual(expected);
    link.close();
    // The other way to be refused: the same port asked as the gateway of another domain.
    const foreign = dialLink(
      {
        url,
        identity: () => agent.tls(),
        trust,
        expect: { roles: ["gateway"], domain: new TestDomain("green.example", now).name },
      },
      new AbortController().signal,
    );
    expect(await codeOf(foreign)).toBe("CAUSEWAY_IDENTITY_MISMATCH");
  } finally {
    await port.stop();
  }
});

/** Sends numbered frames, a few each turn, while frames come in. Resolves with the numbers that came. */
function exchange(link: Link, count: number): Promise<readonly number[]> {
  return new Promise((resolve, reject) => {
    const received: number[] = [];
    let sent = 0;
    const sendSome = (): void => {
      for (let i = 0; i < 7 && sent < count; i++) {
        const frame = encodeFrame({ case: "heartbeat", value: { sequence: BigInt(sent++) } });
        if (!link.send(frame)) {
          link.onWritable(sendSome);
          return;
        }
      }
      if (sent < count) setImmediate(sendSome);
    };
    link.onFrames((frames) => {
      for (const { buffer, start, end } of frames) {
        const body = decodeFrame(buffer, start, end);
        if (body.case === "heartbeat") received.push(Number(body.value.sequence));
      }
      if (received.length === count) resolve(received);
    });
    link.onClose((error) => reject(error ?? new Error("the link was closed")));
    sendSome();
  });
}
