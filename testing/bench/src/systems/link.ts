import type { BenchDomain } from "../certificates.ts";
import { messageOf } from "../processes.ts";
import type { RelaySystem } from "../system.ts";

/** Our transport alone: frames go to the other end by its name, and nothing looks into them. */
export function linkSystem(domain: BenchDomain): RelaySystem {
  return {
    name: "link",
    description: "adapters/h2 alone: links with a name lookup in between, no gateway service; a floor for causeway",
    prepare: async () => ({ version: "this checkout" }),
    async start(processes) {
      const child = processes.node(new URL("../gateways/link.ts", import.meta.url), 0, ["--max-semi-space-size=2"]);
      const ready = messageOf(child, isReady, "the link relay");
      const trustState = domain.trustState();
      child.send({ identity: domain.identity("gateway/gw1", "gateway"), trustState });
      const { url } = await ready;
      const client = (role: string) => ({
        client: "link" as const,
        settings: { url, trustState, identity: domain.identity(`bench/${role}`) },
      });
      return {
        pid: child.pid ?? 0,
        clients: { sender: client("sender"), receiver: client("receiver") },
        stop: () => processes.end(child),
      };
    },
  };
}

const isReady = (message: unknown): message is { readonly url: string } =>
  typeof message === "object" && message !== null && "url" in message;
