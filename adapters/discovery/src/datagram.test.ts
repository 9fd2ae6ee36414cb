/** Datagrams over real sockets: the request is repeated, a cookie goes back to where it came from, and anybody may answer. */
import { createSocket } from "node:dgram";
import { expect, test } from "vitest";
import { askByDatagram, serveDatagrams } from "./datagram.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const until = AbortSignal.timeout(30_000);

test("asks, comes back with the cookie, and hands over every answer until the time is over", async () => {
  const asked: string[] = [];
  const gateway = await serveDatagrams({
    host: "127.0.0.1",
    port: 0,
    handle(source, bytes) {
      asked.push(`${source.startsWith("127.0.0.1:")} ${text(bytes)}`);
      return Buffer.from(text(bytes) === "who" ? "cookie" : "offer");
    },
  });
  const answers: string[] = [];
  await askByDatagram(
    `udp://127.0.0.1:${gateway.port}`,
    (cookie) => Buffer.from(cookie === undefined ? "who" : "who with cookie"),
    (answer) => {
      answers.push(text(answer));
      return text(answer) === "cookie" ? answer : undefined;
    },
    until,
  );
  expect(new Set(asked)).toEqual(new Set(["true who", "true who with cookie"]));
  expect(new Set(answers)).toEqual(new Set(["cookie", "offer"]));
  await gateway.stop();
});

test("silence is no error; a name that leads nowhere is; giving up ends at once", async () => {
  const mute = createSocket("udp4");
  await new Promise<void>((resolve) => mute.bind(0, "127.0.0.1", resolve));
  const ask = (endpoint: string, signal: AbortSignal): Promise<void> =>
    askByDatagram(
      endpoint,
      () => Buffer.from("who"),
      () => undefined,
      signal,
    );
  await ask(`udp://127.0.0.1:${mute.address().port}`, until);
  const gone = new AbortController();
  const asking = ask(`udp://127.0.0.1:${mute.address().port}`, gone.signal);
  gone.abort();
  await expect(asking).rejects.toMatchObject({ code: "CAUSEWAY_CANCELLED" });
  mute.close();
  const taken = await serveDatagrams({ host: "127.0.0.1", port: 0, handle: () => undefined });
  await expect(serveDatagrams({ host: "127.0.0.1", port: taken.port, handle: () => undefined })).rejects.toMatchObject({
    code: "CAUSEWAY_PORT_IN_USE",
  });
  await taken.stop();
});
