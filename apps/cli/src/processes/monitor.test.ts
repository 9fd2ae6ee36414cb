import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createScheduler } from "@causeway/adapter-clock";
import { asUnixMs, type Scheduler, silentLog } from "@causeway/core-base";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Home } from "../home.ts";
import { openMonitor } from "./monitor.ts";
import { Operator } from "./operator.ts";
import { monitorToken } from "./service-tokens.ts";
import { type OwnAuthority, startOwnAuthority } from "./testing/authority.ts";

let home: Home;
let authority: OwnAuthority;

beforeEach(async () => {
  authority = await startOwnAuthority();
  home = authority.home;
});
afterEach(async () => {
  await authority.stop();
});

const folder = () => join(home.directory, "prometheus");
const certificate = () => new X509Certificate(readFileSync(join(folder(), "cert.pem")));

const open = (more: { readonly token?: string; readonly scheduler?: Scheduler } = {}) =>
  openMonitor({ home, config: home.config({}), name: "prometheus", directory: folder(), log: silentLog, ...more });

test("it is enrolled in the operator's name, opened again as it is, and not renewed before its time", async () => {
  const first = await open();
  const { serialNumber, subjectAltName } = certificate();
  expect(subjectAltName).toBe("URI:spiffe://blue.example/monitor/prometheus");
  expect(first.notAfterUnixMs()).toBe(certificate().validToDate.getTime());
  await first.stop();
  rmSync(folder(), { recursive: true });
  const again = await open();
  await again.renewIfDue();
  await again.stop();
  expect(certificate().serialNumber).toBe(serialNumber);
});

test("the files follow a renewal: another certificate with the key that belongs to it", async () => {
  const monitor = await open();
  const before = certificate();
  const key = readFileSync(join(folder(), "key.pem"), "utf8");
  await monitor.renew();
  await monitor.stop();
  const after = certificate();
  expect(after.serialNumber).not.toBe(before.serialNumber);
  const renewedKey = readFileSync(join(folder(), "key.pem"), "utf8");
  expect(renewedKey).not.toBe(key);
  expect(after.checkPrivateKey(createPrivateKey(renewedKey))).toBe(true);
});

test("a renewal whose files cannot be written says so", async () => {
  const monitor = await open();
  rmSync(folder(), { recursive: true });
  writeFileSync(folder(), "no folder");
  await expect(monitor.renew()).rejects.toMatchObject({ code: "CAUSEWAY_STORE_FAILED" });
  rmSync(folder());
  await monitor.renew();
  await monitor.stop();
  expect(certificate().validToDate.getTime()).toBe(monitor.notAfterUnixMs());
});

test("a revoked one is refused with what to do, and comes back by a token and not without", async () => {
  await (await open()).stop();
  const before = certificate().serialNumber;
  await using operator = await Operator.open(home.config({}));
  await operator.authority.revoke({ spiffeId: "spiffe://blue.example/monitor/prometheus" });
  const refused = {
    code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
    message: expect.stringContaining("causeway cert token --monitor prometheus"),
  };
  const { token } = await operator.authority.createToken(monitorToken(operator.config, "prometheus"));
  // Nothing here has heard of the revocation when the token is used.
  await (await open({ token })).stop();
  expect(certificate().serialNumber).not.toBe(before);
  await operator.authority.revoke({ spiffeId: "spiffe://blue.example/monitor/prometheus" });
  await expect(open()).rejects.toMatchObject(refused);
  await expect(open({ token })).rejects.toMatchObject(refused);
  // What the authority said is known when it does not answer any more.
  await authority.stopServing();
  await expect(open()).rejects.toMatchObject(refused);
});

test("one that has lapsed and is not given back is refused with what to do", async () => {
  await (await open()).stop();
  const { now, at } = createScheduler();
  // The authority sees a certificate that is good, and gives no other for it.
  const scheduler: Scheduler = {
    at,
    now: () => ({ instant: now().instant, unix: asUnixMs(now().unix + 40 * 86_400_000) }),
  };
  await expect(open({ scheduler })).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_NOT_ENROLLED",
    message: expect.stringContaining("causeway cert token --monitor prometheus"),
  });
});

test("a name that is no segment is refused before anything is made", async () => {
  const named = { home, config: home.config({}), name: "../x", directory: folder(), log: silentLog };
  await expect(openMonitor(named)).rejects.toMatchObject({ code: "CAUSEWAY_NAME_INVALID" });
  expect(existsSync(join(home.directory, "monitors"))).toBe(false);
});

test("two do not keep one identity at once, also after one that failed", async () => {
  const monitor = await open();
  await expect(open()).rejects.toMatchObject({ code: "CAUSEWAY_STORE_IN_USE" });
  await monitor.stop();
  rmSync(folder(), { recursive: true });
  writeFileSync(folder(), "no folder");
  await expect(open()).rejects.toMatchObject({ code: "CAUSEWAY_STORE_FAILED" });
  rmSync(folder());
  await (await open()).stop();
});

test("a token stands in for the operator, who may be elsewhere", async () => {
  const operator = await Operator.open(home.config({}));
  const { token } = await operator.authority.createToken(monitorToken(operator.config, "prometheus"));
  await operator[Symbol.asyncDispose]();
  rmSync(join(home.config({}).dataDir, "operator"), { recursive: true });
  await expect(open()).rejects.toMatchObject({ code: "CAUSEWAY_IDENTITY_NOT_ENROLLED" });
  await (await open({ token })).stop();
  expect(certificate().subjectAltName).toBe("URI:spiffe://blue.example/monitor/prometheus");
});
