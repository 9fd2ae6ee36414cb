import { connect } from "node:http2";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { clientOptions } from "@causeway/adapter-tls";
import { asUnixMs } from "@causeway/core-base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { enrol } from "./adversary/credentials.ts";
import { startWorld, type World } from "./world.ts";

let world: World;
let keeper: IdentityKeeper;

beforeAll(async () => {
  world = await startWorld();
  keeper = await enrol(world, "blue.example/people/curl");
}, 120_000);

afterAll(async () => {
  await keeper?.stop();
  await world?.[Symbol.asyncDispose]();
});

/** One unary call as any HTTP client makes it: POST with JSON, over TLS with the agent's certificate. */
function post(
  url: string,
  method: string,
  body: object,
): Promise<{ readonly status: number; readonly json: Record<string, unknown> }> {
  const tls = clientOptions({
    identity: keeper.identity.tls(),
    trust: keeper.trust,
    expect: { roles: ["authority", "gateway", "registry"] },
    now: () => asUnixMs(Date.now()),
  });
  const session = connect(url, tls);
  return new Promise((resolve, reject) => {
    session.on("error", reject);
    const request = session.request({ ":method": "POST", ":path": `/${method}`, "content-type": "application/json" });
    let status = 0;
    let text = "";
    request.on("response", (headers) => (status = Number(headers[":status"])));
    request.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
    request.on("error", reject);
    request.on("end", () => {
      session.close();
      resolve({ status, json: JSON.parse(text) as Record<string, unknown> });
    });
    request.end(JSON.stringify(body));
  });
}

describe("JSON over HTTP, from the same definitions as gRPC", () => {
  const blue = () => world.network.configs[0];

  test("the registry answers discovery and names what it refuses [AMSP-39]", async () => {
    const found = await post(blue().registry?.url ?? "", "causeway.ars.v1.RegistryService/Discover", {
      text: "anybody",
    });
    expect(found).toEqual({ status: 200, json: {} });
    const refused = await post(blue().registry?.url ?? "", "causeway.ars.v1.RegistryService/GetRecord", {
      agentId: "spiffe://blue.example/no/body",
    });
    expect(refused.status).toBe(404);
    expect(JSON.stringify(refused.json)).toContain("CAUSEWAY_RECORD_NOT_FOUND");
  });

  test("the authority answers the status of a certificate and its revocation lists [ANA-69]", async () => {
    const serial = Buffer.from(keeper.identity.validity()[0]?.serial ?? []).toString("base64");
    const status = await post(blue().authority.url, "causeway.aca.v1.AuthorityService/CertificateStatus", { serial });
    expect(status).toMatchObject({ status: 200, json: { status: "good" } });
    const crl = await post(blue().authority.url, "causeway.aca.v1.AuthorityService/GetCrl", {});
    expect(crl.json["crls"]).toHaveLength(2);
  });

  test("a call that needs an operator is refused to an agent", async () => {
    const refused = await post(blue().authority.url, "causeway.aca.v1.AuthorityService/CreateToken", {
      spiffeId: "spiffe://blue.example/a/b",
    });
    expect(refused.status).toBe(403);
    expect(JSON.stringify(refused.json)).toContain("CAUSEWAY_IDENTITY_ROLE_WRONG");
  });

  test("what is no JSON and what is no method is refused", async () => {
    const gateway = blue().gateways[0]?.url ?? "";
    expect((await post(gateway, "causeway.amsp.v1.SyncService/Status", { unknown: 1 })).status).toBeGreaterThanOrEqual(
      400,
    );
  });
});
