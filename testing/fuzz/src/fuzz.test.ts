import { describe, expect, test } from "vitest";
import { fuzz } from "./fuzz.ts";
import { targets } from "./targets.ts";

describe("every decoder refuses damaged input with a typed error and nothing else", () => {
  test.for(targets.map((target) => [target.name, target] as const))("%s [AGP-61]", ([, target]) => {
    const failure = fuzz(target, { seed: 20_260_301, runs: 1_500 });
    expect(failure && { ...failure, input: Buffer.from(failure.input).toString("hex") }).toBeUndefined();
  });

  test.for(
    targets
      .filter((target) => !["certificate-chain", "trust-state"].includes(target.name))
      .map((target) => [target.name, target] as const),
  )("the seeds of %s are valid, so that the fuzzer gets past the first byte", ([, target]) => {
    for (const seed of target.seeds) target.run(Uint8Array.from(seed));
  });

  test("the runner finds a decoder that breaks", () => {
    const broken = {
      name: "broken",
      seeds: [Uint8Array.of(1, 2, 3)],
      run: (bytes: Uint8Array) => void JSON.parse(String(bytes[0])).x.y,
    };
    expect(fuzz(broken, { seed: 1, runs: 50 })).toMatchObject({ target: "broken" });
  });
});
