/**
 * An agent in a process of its own, so that it can have a clock of its own. Its parent tells it what to do over the
 * channel of the process: `HOME DOMAIN NAME` are its arguments.
 */
import { CausewayError } from "@causeway/core-base";
import { readDomainConfig } from "../../../apps/cli/src/config/domain.ts";
import { Home } from "../../../apps/cli/src/home.ts";
import { connectAgent } from "../../../apps/cli/src/processes/agents.ts";

/** What the parent asks for. */
export interface ClockedRequest {
  readonly to: string;
  readonly texts: readonly string[];
}

/** What it is told: the own id, what was heard, each event of the link, and the outcome of each text. */
export type ClockedReport =
  | { readonly kind: "ready"; readonly id: string }
  | { readonly kind: "heard"; readonly text: string }
  | { readonly kind: "event"; readonly type: string }
  | { readonly kind: "sent"; readonly text: string; readonly code: string | undefined };

const [folder = "", domain = "", name = ""] = process.argv.slice(2);
const home = new Home(folder);
const tell = (report: ClockedReport): void => {
  if (process.connected) process.send?.(report);
};
const agent = await connectAgent({ home, config: readDomainConfig(home.configFile(domain)), name });
agent.onEvent(({ type }) => tell({ kind: "event", type }));
agent.onMessage((message) => tell({ kind: "heard", text: String(message.data) }));
await agent.register({
  name: "Clocked",
  description: "Has a clock of its own",
  version: "1",
  skills: [{ id: "listen", description: "Listens" }],
});
process.on("message", async ({ to, texts }: ClockedRequest) => {
  for (const text of texts) {
    const code = await agent.send(to, text, { timeoutMs: 20_000 }).then(
      () => undefined,
      (thrown: unknown) => CausewayError.from(thrown).code,
    );
    tell({ kind: "sent", text, code });
  }
});
process.on("disconnect", () => void agent.close());
tell({ kind: "ready", id: agent.id });
