/** An SDK or a SLIM session in a process of its own: sends as fast as a window of unanswered messages allows, or counts. */
import type { Agent } from "@causeway/agent/node";
import { readDomainConfig } from "../../../../apps/cli/src/config/domain.ts";
import { Home } from "../../../../apps/cli/src/home.ts";
import { connectAgent } from "../../../../apps/cli/src/processes/agents.ts";
import { loadSlim, type SlimSession } from "../slim-bindings.ts";

/** From the harness. */
export type SdkCommand =
  | { readonly do: "agent"; readonly home: string; readonly domain: string; readonly name: string }
  | {
      readonly do: "slim";
      readonly settings: Readonly<Record<string, unknown>>;
      readonly role: "sender" | "receiver";
      readonly mls: boolean;
      readonly reliable: boolean;
    }
  | { readonly do: "send"; readonly to: string; readonly mode: "reliable" | "best-effort"; readonly forMs: number }
  | { readonly do: "count" };

const payload = new Uint8Array(1_024).fill(0x61);
let agent: Agent | undefined;
let session: SlimSession | undefined;
let isAwaited = true;
let received = 0;

const report = (message: object): void => void process.send?.(message);
process.on("disconnect", () => process.exit());
process.on("message", (command: SdkCommand) => {
  handle(command).catch((thrown: unknown) =>
    report({ failed: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) }),
  );
});

async function handle(command: SdkCommand): Promise<void> {
  switch (command.do) {
    case "agent": {
      const home = new Home(command.home);
      agent = await connectAgent({
        home,
        config: readDomainConfig(home.configFile(command.domain)),
        name: command.name,
      });
      agent.onMessage(() => {
        received += 1;
      });
      report({ did: "open" });
      return;
    }
    case "slim":
      await openSlim(command);
      return;
    case "send":
      report({ did: "send", ...(await send(command)) });
      return;
    case "count":
      report({ did: "count", received, at: performance.now() });
  }
}

/**
 * Keeps a window of messages under way, and counts those that were settled in the second half of the time. SLIM's session now
 * and then never says what became of a message: what is not settled some time after the end is not waited for.
 */
async function send({
  to,
  mode,
  forMs,
}: Extract<SdkCommand, { do: "send" }>): Promise<{ settled: number; ms: number; unsettled: number }> {
  const end = performance.now() + forMs;
  const from = end - forMs / 2;
  let settled = 0;
  const window = agent === undefined ? slimWindowMessages : windowMessages;
  let unsettled = window;
  const one = async (): Promise<void> => {
    if (agent !== undefined) await agent.send(to, payload, { mode });
    else {
      const handle = await session?.publishAsync(payload.buffer, undefined, undefined);
      if (isAwaited) await handle?.waitAsync();
    }
  };
  const lane = async (): Promise<void> => {
    while (performance.now() < end) {
      await one();
      const at = performance.now();
      if (at >= from && at < end) settled += 1;
    }
    unsettled -= 1;
  };
  const all = Promise.all(Array.from({ length: window }, lane));
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, forMs + settleMs))]);
  return { settled, ms: end - from, unsettled };
}

async function openSlim({ settings, role, mls, reliable }: Extract<SdkCommand, { do: "slim" }>): Promise<void> {
  const { port, ca, cert, key, packageDirectory } = settings as Readonly<Record<string, string>>;
  const slim = await loadSlim(packageDirectory ?? "");
  const service = slim.getGlobalService();
  const config = slim.newSecureClientConfig(`https://127.0.0.1:${port}`);
  const tls = {
    ...config.tls,
    insecure: false,
    insecureSkipVerify: false,
    source: new slim.TlsSource.File({ cert: cert ?? "", key: key ?? "" }),
    caSource: new slim.CaSource.File({ path: ca ?? "" }),
    includeSystemCaCertsPool: false,
    tlsVersion: "tls1.3",
  };
  const connection = await service.connectAsync({ ...config, tls });
  const own = new slim.Name("bench", "sdk", role);
  const app = service.createAppWithSecret(own, "a secret of the bench, at least thirty-two bytes long");
  await app.subscribeAsync(own, connection);
  isAwaited = reliable;
  if (role === "receiver") {
    report({ did: "open" });
    const open = await app.listenForSessionAsync(undefined);
    for (;;) {
      await open.getMessageAsync(undefined);
      received += 1;
    }
  }
  const receiver = new slim.Name("bench", "sdk", "receiver");
  await app.setRouteAsync(receiver, connection);
  session = await app.createSessionAndWaitAsync(
    slim.SessionConfig.create({
      sessionType: slim.SessionType.PointToPoint,
      metadata: new Map(),
      ...(reliable && { maxRetries: 10, interval: 1_000 }),
      ...(mls && { mlsSettings: slim.MlsSettings.create({ headerIntegrityValidationPercent: 100 }) }),
    }),
    receiver,
  );
  report({ did: "open" });
}

const windowMessages = 64;
/** The largest at which its acknowledged session keeps going over TLS: with more, most messages are never settled. */
const slimWindowMessages = 32;
/** How long after the end what is under way may take. */
const settleMs = 15_000;
