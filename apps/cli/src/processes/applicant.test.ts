import { join } from "node:path";
import { CausewayError, parseAgentId } from "@causeway/core-base";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Home } from "../home.ts";
import { applyForIdentity } from "./applicant.ts";
import { readBundle, writeBundle } from "./bundle.ts";
import { Operator } from "./operator.ts";
import { type OwnAuthority, startOwnAuthority } from "./testing/authority.ts";

let home: Home;
let authority: OwnAuthority;
let operator: Operator;

beforeEach(async () => {
  authority = await startOwnAuthority();
  home = authority.home;
  operator = await Operator.open(home.config({}));
});
afterEach(async () => {
  await operator[Symbol.asyncDispose]();
  await authority.stop();
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
