import { parseAgentId } from "@causeway/core-base";
import { expect, test } from "vitest";
import { purposesOf, roleOfName, roles, rolesFor } from "./index.ts";

test("agents and nobody else talk end to end; every role has connections [AAP-98]", () => {
  expect(rolesFor("mls")).toEqual(["agent"]);
  expect(rolesFor("tls")).toEqual(roles);
  for (const role of roles) expect(new Set(purposesOf[role]).size).toBe(purposesOf[role].length);
});

test.each([
  ["blue.example/gateway/gw1", "gateway"],
  ["blue.example/registry", "registry"],
  ["blue.example/authority", "authority"],
  ["blue.example/operator/admin", "operator"],
  ["blue.example/monitor/prometheus", "monitor"],
  ["blue.example/travel/gateway", "agent"],
  ["blue.example/gateways/gw1", "agent"],
])("%s is the name of the role %s", (name, role) => {
  expect(roleOfName(parseAgentId(name))).toBe(role);
});
