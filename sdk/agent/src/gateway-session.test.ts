import { expect, test } from "vitest";
import { noneFound } from "./gateway-session.ts";

test("methods that led to no gateway are named, each with its reason", () => {
  const error = noneFound(500, [
    { method: "dhcp", endpoint: "", why: "it named no gateway" },
    { method: "dns", endpoint: "https://gw1.blue.example:7443", why: "it made no offer" },
  ]);
  expect(error).toMatchObject({
    code: "CAUSEWAY_TIMEOUT",
    message:
      "found no gateway within 500 ms (dhcp: it named no gateway; https://gw1.blue.example:7443: it made no offer)",
  });
  expect(noneFound(500, [])).toBeUndefined();
});
