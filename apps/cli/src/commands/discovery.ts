/** How commands name ways to find a gateway: `--via dns`, `--via dhcp:/run/lease`, one after the other. */
import type { DiscoveryMethod, DiscoveryOptions } from "@causeway/agent/node";
import { refuse } from "@causeway/core-base";
import type { Command } from "commander";
import { wordOf } from "./data.ts";

/** Options of commands that look for a gateway. */
export interface DiscoveryCommandOptions {
  readonly via?: readonly string[];
  readonly prefer?: string;
}

export function withDiscoveryOptions(command: Command): Command {
  return command
    .option(
      "--via <method...>",
      "ways to find a gateway, in order: static:<gateway,...>, anycast[:<address,...>], datagram[:<address,...>], dns[:<domain>][@<server,...>], dhcp[:<file,...>], directory",
    )
    .option(
      "--prefer <order>",
      "what tells offers apart: domain, load, delay, with commas between (default: in this order)",
    );
}

/** Reads the options; undefined without `--via`. Throws `CAUSEWAY_CONFIG_INVALID`. */
export function discoveryOf({ via, prefer }: DiscoveryCommandOptions): DiscoveryOptions | undefined {
  if (via === undefined) return undefined;
  return {
    methods: via.map(methodOf),
    ...(prefer !== undefined && {
      prefer: prefer.split(",").map((word) => wordOf(word, "--prefer", ["domain", "load", "delay"])),
    }),
  };
}

function methodOf(text: string): DiscoveryMethod {
  const [, name = "", rest = ""] = /^([a-z]+):?(.*)$/.exec(text) ?? [];
  const words = (list: string): readonly string[] => list.split(",").filter((word) => word !== "");
  switch (name) {
    case "static":
      return { method: "static", gateways: words(rest) };
    case "anycast":
      return { method: "anycast", ...(rest !== "" && { address: words(rest) }) };
    case "datagram":
      return { method: "anycast", datagram: true, ...(rest !== "" && { address: words(rest) }) };
    case "dhcp":
      return { method: "dhcp", ...(rest !== "" && { files: words(rest) }) };
    case "dns": {
      const [domain = "", servers = ""] = rest.split("@");
      return {
        method: "dns",
        ...(domain !== "" && { domain }),
        ...(servers !== "" && { servers: words(servers) }),
      };
    }
    case "directory":
      return { method: "directory" };
    default:
      throw refuse(
        "CAUSEWAY_CONFIG_INVALID",
        `expected --via static:…, anycast, datagram, dns, dhcp or directory, got ${JSON.stringify(text.slice(0, 100))}`,
      );
  }
}
