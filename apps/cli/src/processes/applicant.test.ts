import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { CausewayError, parseAgentId, silentLog } from "@causeway/core-base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Home } from "../home.ts";
import { applyForIdentity } from "./applicant.ts";
import { startAuthority } from "./authority.ts";
import { readBundle, writeBundle } from "./bundle.ts";
import type { RunningService } from "./lifecycle.ts";
import { Operator } from "./operator.ts";

let home: Home;
let authority: RunningService;
let operator: Operator;

beforeEach(async () => {
  home = new Home(mkdtempSync(join(tmpdir(), "causeway-applicant-")));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await new Promise((resolve) => server.close(resolve));
  const file = home.configFile("blue.example");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(
    file,
    `domain: blue.example\nmasterKeyFile: ${JSON.stringify(home.masterKeyFile)}\nauthority: { listen: "127.0.0.1:${port}" }\n`,
  );
  authority = await startAuthority(home.config({}), silentLog);
  operator = await Operator.open(home.config({}));
});
afterEach(async () => {
  await operator[Symbol.asyncDispose]();
  await authority.stop();
  rmSync(home.directory, { recursive: true, force: true });
});

/** Applies with the bundle as a file, as one operator hands it over; `decide` gets the application's id. */
async function apply(name: string, decide: (id: string) => Promise<unknown>) {
  const file = join(home.directory, "bundle.json");
  writeBundle(file, await operator.bundle());
  let decided: Promise<unknown> = Promise.resolve();
  const identity = await applyForIdentity({
    directory: join(home.directory, "applicant"),
    masterKeyFile: join(home.directory, "applicant.key"),
    agentId: parseAgentId(name),
    bundle: readBundle(file),
    material: { organisation: "Acme", developer: "Ada", functionType: "test", scopes: ["tests"] },
    onPending: (id) => {
      decided = decide(id);
    },
  });
  await decided;
  return identity;
}

test("an application that the operator approves ends in an identity", async () => {
  const { notAfterUnixMs } = await apply("blue.example/tools/new", (applicationId) =>
    operator.authority.decideApplication({ applicationId, approve: true, reason: "" }),
  );
  expect(notAfterUnixMs).toBeGreaterThan(Date.now());
});

test("a rejected one ends with the operator's reason", async () => {
  const error = await apply("blue.example/tools/new", (applicationId) =>
    operator.authority.decideApplication({ applicationId, approve: false, reason: "not known here" }),
  ).then(() => expect.fail("it was issued"), CausewayError.from);
  expect(error.code).toBe("CAUSEWAY_IDENTITY_APPLICATION_REJECTED");
  expect(error.message).toContain("not known here");
});

test("the bundle of another domain is refused before anything is sent", async () => {
  const error = await apply("green.example/tools/new", () => expect.fail("it was sent")).then(
    () => expect.fail("it was issued"),
    CausewayError.from,
  );
  expect(error.message).toContain("expected the trust bundle of green.example");
});
