/** Messages for somebody who is away: a mailbox beside a JetStream stream in files. Neither waits for the disk itself. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openConnection } from "../clients/nats.ts";
import { type CrowdContext, counted, type Figures, full, sleep, warmUpMsMin, who, withGateway } from "./context.ts";
import { Crowd } from "./crowd.ts";
import { subject } from "./nats.ts";
import { withReserve } from "./reserve.ts";

/** One sender with many outstanding: messages a second that are acknowledged as stored, and CPU of the gateway for each. */
export async function measureStored(context: CrowdContext): Promise<Figures> {
  const warmUpMs = Math.max(warmUpMsMin, context.options.warmUpMs);
  const forMs = warmUpMs + context.options.floodMs;
  return await withReserve(context.processes, forMs, (giveBack) => measureWith(context, warmUpMs, giveBack));
}

async function measureWith(context: CrowdContext, warmUpMs: number, giveBack: () => Promise<void>): Promise<Figures> {
  // A round stores gigabytes: they go with it.
  const workDir = mkdtempSync(join(context.workDir, "stored-"));
  try {
    return await withGateway(
      { ...context, workDir },
      async (gateway) => {
        const { settings } = gateway.clients.sender;
        const target = full(context, "bench/away");
        const stream = context.system.name === "nats" ? await openStream(settings, subject(target)) : undefined;
        // Known to the gateway, and gone without a word.
        const away = await Crowd.open(context.processes, gateway, [who(context, "bench/away")]);
        await away.end();
        const sending = await Crowd.open(context.processes, gateway, [
          { ...who(context, "bench/sender"), target: { agent: target }, isStored: true },
        ]);
        try {
          await sending.ask({ do: "prepare", size: messageBytes, isEchoing: false }, "prepare");
          await giveBack();
          sending.tell({ do: "ping", outstanding });
          await sleep(warmUpMs);
          const before = await counted(sending, gateway);
          await sleep(context.options.floodMs);
          const after = await counted(sending, gateway);
          await sending.ask({ do: "stop" }, "stop");
          const messages = after.total - before.total;
          if (messages === 0) throw new Error("no message was acknowledged as stored");
          await stream?.expect(after.total);
          return {
            "stored/s": (messages * 1_000) / (after.at - before.at),
            "stored cpu µs": ((after.cpu - before.cpu) * 1e6) / messages,
          };
        } finally {
          await sending.end();
          stream?.end();
        }
      },
      true,
    );
  } finally {
    rmSync(workDir, { recursive: true, force: true });
  }
}

/** Makes a stream in files over what is published to `from`. */
async function openStream(settings: Readonly<Record<string, unknown>>, from: string) {
  const own = "bench-api";
  const { socket } = await openConnection(settings, own, "nobody");
  const ask = (method: string, body: object): Promise<StreamAnswer> => {
    const text = JSON.stringify(body);
    return new Promise((resolve, reject) => {
      let heard = "";
      const timer = setTimeout(() => reject(new Error(`JetStream: no answer to ${method}`)), answerMs);
      const hear = (chunk: Buffer): void => {
        heard += chunk.toString();
        const end = heard.lastIndexOf("}\r\n");
        if (end < 0) return;
        clearTimeout(timer);
        socket.off("data", hear);
        const answer = JSON.parse(heard.slice(heard.indexOf("{"), end + 1)) as StreamAnswer;
        if (answer.error === undefined) resolve(answer);
        else reject(new Error(`JetStream: ${method}: ${answer.error.description}`));
      };
      socket.on("data", hear);
      socket.write(`PUB $JS.API.STREAM.${method}.${from} ${own} ${text.length}\r\n${text}\r\n`);
    });
  };
  await ask("CREATE", { name: from, subjects: [from], storage: "file", retention: "limits" });
  return {
    /** An acknowledgement may also carry an error: the stream has to hold what was counted. */
    async expect(count: number): Promise<void> {
      const { state } = await ask("INFO", {});
      if (state === undefined || state.messages < count)
        throw new Error(`JetStream acknowledged ${count} messages and holds ${state?.messages}`);
    },
    end: () => void socket.destroy(),
  };
}

interface StreamAnswer {
  readonly error?: { readonly description: string };
  readonly state?: { readonly messages: number };
}

const messageBytes = 1_024;
/** Messages that the sender has not heard of yet. */
const outstanding = 8_192;
const answerMs = 10_000;
