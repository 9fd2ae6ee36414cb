/** Nothing turns verification off: no option, no environment variable, no test (AGP-56). */
import { once } from "node:events";
import { globSync, readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import { asUnixMs, isCausewayError } from "@causeway/core-base";
import { createTestDomain } from "@causeway/core-identity/testing";
import { afterEach, expect, test } from "vitest";
import { clientOptions, serverOptions, tlsErrorOf, verifiedPeerOf } from "./index.ts";

const root = join(import.meta.dirname, "../../..");
const rooms = ["core", "adapters", "e2ee", "services", "sdk", "bridges", "apps", "testing", "scripts", "examples"];

/** Where OpenSSL's verdict is not asked for, and what judges instead. */
const judgedElsewhere: Readonly<Record<string, string>> = {
  "adapters/tls/src/options.ts": "the trust store judges each client before anything of it is handled",
  "adapters/tls/src/pinned-root.ts": "nothing is sent or believed; the certificate is compared with a fingerprint",
  "adapters/tls/src/tls.test.ts": "plays an attacker that does not check the server",
  "adapters/tls/src/no-switch.test.ts": "this search",
  "testing/e2e/src/adversary/scanner.ts": "a scanner that looks at strangers and hands nothing over",
  "testing/e2e/src/monitoring.test.ts": "asks a domain that it has no root of, to hear the refusal",
};

test("no source file has a switch that turns verification off [AGP-56]", () => {
  const files = rooms.flatMap((room) =>
    globSync(`${room}/**/*.{ts,tsx,js,mjs,json,yaml,sh}`, { cwd: root, exclude: ["**/node_modules/**", "**/gen/**"] }),
  );
  expect(files.length).toBeGreaterThan(50);
  // A switch that is spelled out in its safe position is none.
  const switches =
    /(?:rejectUnauthorized|strictSSL)["']?\s*:(?!\s*true)|(?:insecureSkipVerify|skipVerification|allowUnauthorized)["']?\s*:(?!\s*false)|NODE_TLS_REJECT_UNAUTHORIZED|--insecure\b/i;
  const found = files.filter((file) => switches.test(readFileSync(join(root, file), "utf8")));
  expect(found.toSorted()).toEqual(Object.keys(judgedElsewhere).toSorted());
});

test("the rooms that judge read no environment and no configuration [AGP-56]", () => {
  const files = globSync("{core/identity,adapters/tls}/src/**/*.ts", { cwd: root }).filter(
    (file) => !file.endsWith(".test.ts"),
  );
  expect(files.length).toBeGreaterThan(20);
  for (const file of files)
    expect(readFileSync(join(root, file), "utf8"), file).not.toMatch(/process\.|node:process|readFile/);
});

const variable = "NODE_TLS_REJECT_UNAUTHORIZED";
const before = process.env[variable];
afterEach(() => {
  if (before === undefined) delete process.env[variable];
  else process.env[variable] = before;
});

test("Node's own variable that turns verification off has no effect at either end [AGP-56]", async () => {
  process.env[variable] = "0";
  const now = asUnixMs(Date.now());
  const blue = createTestDomain("blue.example", { now });
  const impostor = createTestDomain("blue.example", { now });
  const trust = blue.store();
  const fake = impostor.identity("gateway/gw1", { role: "gateway" });
  const server = createServer(serverOptions(fake.tls()));
  server.on("secureConnection", (socket: TLSSocket) => socket.on("error", () => undefined));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const options = clientOptions({
    identity: blue.identity("a").tls(),
    trust,
    expect: { roles: ["gateway"] },
    now: () => now,
  });
  const client = connect({ ...options, host: "127.0.0.1", port });
  const [error] = await once(client, "error");
  expect(tlsErrorOf(error).code).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED");

  // The other way round: a client that this server does not trust.
  const served = once(server, "secureConnection");
  const guest = connect({
    ...clientOptions({
      identity: blue.identity("a").tls(),
      trust: impostor.store(),
      expect: { roles: ["gateway"] },
      now: () => now,
    }),
    host: "127.0.0.1",
    port,
  });
  guest.on("error", () => undefined);
  const [socket] = (await served) as [TLSSocket];
  let code = "";
  try {
    verifiedPeerOf(socket, impostor.store(), now);
  } catch (thrown) {
    code = isCausewayError(thrown) ? thrown.code : String(thrown);
  }
  expect(code).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED");
  guest.destroy();
  socket.destroy();
  server.close();
});
