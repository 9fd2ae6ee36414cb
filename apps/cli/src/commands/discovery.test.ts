import { expect, test } from "vitest";
import { discoveryOf } from "./discovery.ts";

test("--via names methods in order, each with what it needs [AAP-46]", () => {
  expect(discoveryOf({})).toBeUndefined();
  const via = [
    "static:gw1.blue.example,https://10.0.0.1:7401",
    "anycast",
    "anycast:10.9.9.9,[fd00::9]:7401",
    "datagram:10.9.9.9",
    "dns",
    "dns:edge.example@10.0.0.53,[fd00::53]:5353",
    "dhcp",
    "dhcp:/run/lease,/run/other",
    "directory",
  ];
  expect(discoveryOf({ via, prefer: "delay,load" })).toEqual({
    methods: [
      { method: "static", gateways: ["gw1.blue.example", "https://10.0.0.1:7401"] },
      { method: "anycast" },
      { method: "anycast", address: ["10.9.9.9", "[fd00::9]:7401"] },
      { method: "anycast", datagram: true, address: ["10.9.9.9"] },
      { method: "dns" },
      { method: "dns", domain: "edge.example", servers: ["10.0.0.53", "[fd00::53]:5353"] },
      { method: "dhcp" },
      { method: "dhcp", files: ["/run/lease", "/run/other"] },
      { method: "directory" },
    ],
    prefer: ["delay", "load"],
  });
  expect(() => discoveryOf({ via: ["carrier-pigeon"] })).toThrow("expected --via");
  expect(() => discoveryOf({ via: ["dns"], prefer: "price" })).toThrow("expected --prefer");
});
