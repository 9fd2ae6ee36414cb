import type { ClientHttp2Session, OutgoingHttpHeaders } from "node:http2";
import { refuse } from "@causeway/core-base";
import { expect, test } from "vitest";
import { connectSession } from "./testing/raw-client.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();

async function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders) {
  const stream = session.request(headers);
  stream.end();
  const answered = new Promise<Record<string, unknown>>((resolve) => stream.once("response", resolve));
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  const { ":status": status, "content-type": type } = await answered;
  return { status, type, body: Buffer.concat(chunks).toString() };
}

test("a page is answered to a GET of its path by who asks, a refusal as its status, everything else as before", async () => {
  const pages = new Map([
    ["/metrics", ({ spiffeId }: { spiffeId: string }) => ({ contentType: "text/plain", body: `for ${spiffeId}` })],
    [
      "/secret",
      () => {
        throw refuse("CAUSEWAY_IDENTITY_ROLE_WRONG", "expected an operator");
      },
    ],
  ]);
  await using world = await startPort(domain, { pages });
  const session = await connectSession(domain, world.address);
  const get = (path: string) => ask(session, { ":method": "GET", ":path": path });
  expect(await get("/metrics?x=1")).toEqual({
    status: 200,
    type: "text/plain",
    body: "for spiffe://blue.example/travel/raw",
  });
  expect(await get("/secret")).toEqual({
    status: 403,
    type: "text/plain; charset=utf-8",
    body: "CAUSEWAY_IDENTITY_ROLE_WRONG: expected an operator\n",
  });
  expect((await get("/other")).status).toBe(404);
  expect((await ask(session, { ":method": "POST", ":path": "/metrics" })).status).toBe(405);
  session.close();
});
