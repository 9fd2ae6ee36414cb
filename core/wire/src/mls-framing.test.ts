import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { wireLimits } from "./limits.ts";
import { checkMlsPayload, MlsScan, scanMls } from "./mls-framing.ts";

const join = (...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((p) => [...p]));
/** RFC 9420 section 2.1.2. */
const vector = (content: Uint8Array | readonly number[]): Uint8Array => {
  const n = content.length;
  if (n < 64) return join([n], content);
  if (n < 16_384) return join([0x40 | (n >> 8), n & 0xff], content);
  return join([0x80 | (n >>> 24), (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff], content);
};
const sealed = new Uint8Array(28);
const privateMessage = (
  o: { group?: Uint8Array; epoch?: readonly number[]; type?: number; aad?: Uint8Array; cipher?: Uint8Array } = {},
): Uint8Array =>
  join(
    [0, 1, 0, 2],
    vector(o.group ?? [1, 2, 3]),
    o.epoch ?? [0, 0, 0, 0, 0, 0, 0, 7],
    [o.type ?? 1],
    vector(o.aad ?? []),
    vector(sealed),
    vector(o.cipher ?? sealed),
  );
const secret = join(vector(new Uint8Array(32)), vector(new Uint8Array(32)), vector(sealed));
const welcome = (secrets: Uint8Array = secret): Uint8Array =>
  join([0, 1, 0, 3], [0, 1], vector(secrets), vector(sealed));
const codeOf = (payload: Uint8Array): string | undefined => scanMls(payload, 0, payload.length, new MlsScan())?.code;

test("a private message shows group id, epoch and content type", () => {
  expect(checkMlsPayload(privateMessage({ epoch: [255, 255, 255, 255, 255, 255, 255, 254], type: 3 }))).toEqual({
    wireFormat: "private_message",
    groupId: Uint8Array.of(1, 2, 3),
    epoch: 2n ** 64n - 2n,
    contentType: "commit",
  });
  expect(checkMlsPayload(privateMessage({ type: 2 }))).toMatchObject({ contentType: "proposal" });
  expect(checkMlsPayload(privateMessage())).toMatchObject({ contentType: "application", epoch: 7n });
});

test("a welcome passes, for one member or several", () => {
  expect(checkMlsPayload(welcome())).toEqual({ wireFormat: "welcome" });
  expect(checkMlsPayload(welcome(join(secret, secret, secret)))).toEqual({ wireFormat: "welcome" });
});

test("every length form is read", () => {
  for (const n of [16, 63, 64, 16_383, 16_384, 70_000]) {
    expect(codeOf(privateMessage({ cipher: new Uint8Array(n) })), `${n} bytes`).toBeUndefined();
  }
});

describe("a payload that is not MLS is refused [AGP-55]", () => {
  const text = (s: string): Uint8Array => Uint8Array.from(s, (c) => c.charCodeAt(0));
  const cases: Record<string, Uint8Array> = {
    nothing: new Uint8Array(0),
    "three bytes": Uint8Array.of(0, 1, 0),
    JSON: text('{"jsonrpc":"2.0","method":"message/send"}'),
    "plain text": text("hello, this is not encrypted"),
    protobuf: Uint8Array.of(10, 3, 1, 2, 3, 18, 0),
    zeros: new Uint8Array(64),
    "another protocol version": join([0, 2], privateMessage().subarray(2)),
    "a public message": join([0, 1, 0, 1], privateMessage().subarray(4)),
    "a group info": join([0, 1, 0, 4], welcome().subarray(4)),
    "a key package": join([0, 1, 0, 5], welcome().subarray(4)),
    "a reserved wire format": join([0, 1, 0, 0], privateMessage().subarray(4)),
    "a private wire format": join([0, 1, 0xf0, 1], privateMessage().subarray(4)),
    "content type 0": privateMessage({ type: 0 }),
    "content type 4": privateMessage({ type: 4 }),
    "bytes after the message": join(privateMessage(), [0]),
    "two messages": join(privateMessage(), privateMessage()),
    "bytes after the welcome": join(welcome(), text("smuggled")),
    "a ciphertext shorter than a tag": privateMessage({ cipher: new Uint8Array(15) }),
    "a welcome for nobody": welcome(new Uint8Array(0)),
    "a welcome with half a secret": welcome(secret.subarray(0, 40)),
    "an overlong length": join([0, 1, 0, 2], [0x40, 3, 1, 2, 3], privateMessage().subarray(8)),
    "a length of eight bytes": join([0, 1, 0, 2], [0xc0, 0, 0, 0, 0, 0, 0, 0], privateMessage().subarray(5)),
    "clear text in authenticated_data": privateMessage({
      aad: new Uint8Array(wireLimits.mlsAuthenticatedDataBytesMax + 1),
    }),
  };
  for (const [name, payload] of Object.entries(cases)) {
    test(name, () => {
      expect(codeOf(payload)).toBe("CAUSEWAY_PAYLOAD_NOT_MLS");
      expect(() => checkMlsPayload(payload)).toThrow(expect.objectContaining({ code: "CAUSEWAY_PAYLOAD_NOT_MLS" }));
    });
  }

  test("a good message cut at any byte", () => {
    for (const whole of [privateMessage(), welcome()]) {
      for (let end = 0; end < whole.length; end++)
        expect(codeOf(whole.subarray(0, end))).toBe("CAUSEWAY_PAYLOAD_NOT_MLS");
    }
  });
});

test("any bytes at any range: refused or accepted, the same whatever lies around them", () => {
  const sample = privateMessage({ aad: Uint8Array.of(5, 5) });
  const damaged = fc.tuple(fc.constantFrom(sample, welcome()), fc.nat(), fc.nat(255)).map(([whole, at, value]) => {
    const copy = whole.slice();
    copy[at % copy.length] = value;
    return copy;
  });
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 100 })), (payload) => {
      const codes = [0, 0xff].map((poison) => {
        const buf = new Uint8Array(payload.length + 40).fill(poison);
        buf.set(payload, 20);
        return scanMls(buf, 20, 20 + payload.length, new MlsScan())?.code;
      });
      expect(codes[0]).toBe(codes[1]);
      if (codes[0] !== undefined) expect(codes[0]).toBe("CAUSEWAY_PAYLOAD_NOT_MLS");
    }),
    { numRuns: 2_000 },
  );
});
