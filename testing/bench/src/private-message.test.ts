import { MlsScan, scanMls } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { privateMessage } from "./clients/private-message.ts";

test("the bench's payloads are MLS private messages of exactly the size asked for", () => {
  for (const size of [53, 100, 101, 102, 1_024, 16_384, 16_421, 16_422, 16_423, 16_424, 300_000, 4_000_000]) {
    const payload = privateMessage(size);
    expect(payload).toHaveLength(size);
    expect(scanMls(payload, 0, payload.length, new MlsScan())).toBeUndefined();
  }
  expect(() => privateMessage(10)).toThrow("at least");
});
