import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFateReport } from "./fate-report.ts";
import { decodeFrame, encodeFrame } from "./frame.ts";
import { Fate } from "./gen/causeway/agp/v1/agp_pb.js";

const header = {
  version: 1,
  targetKind: 1,
  target: "spiffe://b.example/y",
  source: "spiffe://a.example/gateway/gw1",
  messageId: Uint8Array.from({ length: 16 }, (_, i) => i),
  hopTtl: 16,
};
const said = { reporter: header.source, target: "spiffe://b.example/z", fate: Fate.STORED };

test("a report on many messages has the bytes that the general encoder gives it", () => {
  const id = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(fc.array(id, { minLength: 1, maxLength: 40 }), (ids) => {
      const [messageId = new Uint8Array(), ...furtherMessageIds] = ids;
      const value = { ...said, messageId, furtherMessageIds };
      const control = { header, body: { case: "deliveryReport", value } } as const;
      const frame = encodeFateReport(header, said, Uint8Array.from(ids.flatMap((each) => [...each])));
      expect(frame).toEqual(encodeFrame({ case: "control", value: control }));
      expect(decodeFrame(frame)).toMatchObject({ case: "control", value: { body: { value } } });
    }),
  );
});
