import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoredApplication, StoredCertificate, StoredToken } from "@causeway/core-base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openAuthorityStore } from "./index.ts";

let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "causeway-authority-store-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const open = (pagesMax?: number) =>
  openAuthorityStore({ path: join(home, "authority.db"), ...(pagesMax !== undefined && { pagesMax }) });

const gateway = { uri: "https://gw1.blue.example/amsp", level: 2, namespaces: ["travel"] };
const token: StoredToken = {
  hash: "h",
  spiffeId: "spiffe://blue.example/a",
  role: "gateway",
  hosts: ["::1"],
  gateway,
  expiresUnixMs: 10,
  createdBy: "op",
};
const application: StoredApplication = {
  id: "1",
  spiffeId: "spiffe://blue.example/a",
  keyFingerprint: "k",
  request: new Uint8Array([1]),
  tokenHash: "",
  state: "in review",
  atUnixMs: 5,
  decidedBy: "",
  reason: "",
  checks: [],
};
const certificate = (serial: string, more: Partial<StoredCertificate> = {}): StoredCertificate => ({
  serial,
  spiffeId: "spiffe://blue.example/a",
  purpose: "tls",
  role: "agent",
  hosts: [],
  der: new Uint8Array([2]),
  keyFingerprint: `key-${serial}`,
  notBeforeUnixMs: 1,
  notAfterUnixMs: 100,
  ...more,
});

test("everything is there again after the file was closed and opened", () => {
  const store = open();
  store.transaction(() => {
    store.putDocument("root.der", new Uint8Array([9]));
    store.insertToken(token);
    store.insertApplication(application);
    store.insertCertificate(certificate("01", { gateway, role: "gateway", hosts: ["gw1"] }));
    store.setRevocation("01", { reason: 1, atUnixMs: 7 });
    store.putBundle({ domain: "green.example", bundle: new Uint8Array([3]) });
    store.appendAudit({ atUnixMs: 1, action: "a.b", actor: "op", subject: "s", facts: "f" });
  });
  store.close();
  const again = open();
  expect(again.document("root.der")).toEqual(new Uint8Array([9]));
  expect(again.token("h")).toEqual(token);
  expect(again.application("1")).toEqual(application);
  expect(again.certificate("01")).toEqual(
    certificate("01", { gateway, role: "gateway", hosts: ["gw1"], revokedReason: 1, revokedUnixMs: 7 }),
  );
  expect(again.bundles()).toEqual([{ domain: "green.example", bundle: new Uint8Array([3]) }]);
  expect(again.audit(10)).toEqual([{ atUnixMs: 1, action: "a.b", actor: "op", subject: "s", facts: "f" }]);
  again.close();
});

test("a transaction that fails leaves nothing behind", () => {
  const store = open();
  store.insertToken(token);
  const failing = () =>
    store.transaction(() => {
      expect(store.consumeToken("h", 3, "me")).toBe(true);
      store.insertCertificate(certificate("01"));
      throw new Error("refused later");
    });
  expect(failing).toThrow("refused later");
  expect(store.token("h")).toEqual(token);
  expect(store.certificate("01")).toBeUndefined();
  store.close();
});

test("a token is consumed once, also by two processes", () => {
  const [one, two] = [open(), open()];
  one.insertToken(token);
  expect([one.consumeToken("h", 3, "a"), two.consumeToken("h", 4, "b"), one.consumeToken("none", 5, "c")]).toEqual([
    true,
    false,
    false,
  ]);
  expect(two.token("h")).toMatchObject({ usedUnixMs: 3, usedBy: "a" });
  one.close();
  two.close();
});

test("certificates are listed newest first and found by revocation and key", () => {
  const store = open();
  for (const serial of ["01", "02", "03"])
    store.insertCertificate(certificate(serial, serial === "03" ? { notAfterUnixMs: 50 } : {}));
  store.insertCertificate(certificate("04", { spiffeId: "spiffe://blue.example/b" }));
  expect(store.certificates("spiffe://blue.example/a", 2).map((c) => c.serial)).toEqual(["03", "02"]);
  expect(store.certificates("", 10).map((c) => c.serial)).toEqual(["04", "03", "02", "01"]);
  store.setRevocation("01", { reason: 1, atUnixMs: 9 });
  store.setRevocation("03", { reason: 6, atUnixMs: 9 });
  expect(store.revokedCertificates(60).map((c) => c.serial)).toEqual(["01"]);
  expect([store.isKeyRevoked("key-01", 1), store.isKeyRevoked("key-03", 1), store.isKeyRevoked("key-02", 1)]).toEqual([
    true,
    false,
    false,
  ]);
  store.setRevocation("03", undefined);
  expect(store.certificate("03")).toEqual(certificate("03", { notAfterUnixMs: 50 }));
  expect(store.deleteCertificatesExpiredBefore(51)).toBe(1);
  store.close();
});

test("applications are counted, listed oldest first and cleared out by state and age", () => {
  const store = open();
  for (const id of ["1", "2", "3"]) store.insertApplication({ ...application, id, atUnixMs: Number(id) });
  store.updateApplication({ ...application, id: "2", state: "rejected", reason: "no", issued: new Uint8Array([1]) });
  expect(store.applications("in review", 10).map((a) => a.id)).toEqual(["1", "3"]);
  expect(store.applications("", 2).map((a) => a.id)).toEqual(["1", "3"]);
  expect(store.countApplications("in review")).toBe(2);
  expect(store.deleteApplicationsBefore("in review", 3)).toBe(1);
  expect(store.application("1")).toBeUndefined();
  expect(store.application("2")).toMatchObject({ state: "rejected", issued: new Uint8Array([1]) });
  expect(store.deleteBundle("none")).toBe(false);
  expect(store.deleteTokensExpiredBefore(100)).toBe(0);
  store.close();
});

test("a full disk refuses the write with its code and changes nothing", () => {
  const store = open(40);
  store.insertToken(token);
  const fill = () =>
    store.transaction(() => {
      store.consumeToken("h", 3, "me");
      for (let i = 0; i < 100; i++) store.insertCertificate(certificate(`${i}`, { der: new Uint8Array(10_000) }));
    });
  expect(fill).toThrow(expect.objectContaining({ code: "CAUSEWAY_STORE_FULL" }));
  expect(store.token("h")).toEqual(token);
  expect(store.certificates("", 1)).toEqual([]);
  store.close();
});
