import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { ars, FrameKind } from "@causeway/core-wire";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { calling, codeOf } from "./adversary/calls.ts";
import { configOf, enrol } from "./adversary/credentials.ts";
import { forgeRecord } from "./adversary/forged-record.ts";
import { Scene } from "./adversary/scene.ts";
import { SmallDisk } from "./adversary/small-disk.ts";
import { ownerOf, WireLink } from "./adversary/wire-link.ts";
import { until } from "./world.ts";

const agentId = "spiffe://blue.example/people/mallory";
const folder = mkdtempSync(join(tmpdir(), "causeway-full-disk-"));
const disk = SmallDisk.mount(join(folder, "small"), 48);
if (disk === undefined)
  process.stderr.write("full disk: skipped, this user may not mount a small file system (it takes root)\n");

describe.skipIf(disk === undefined)("a full disk under every service of a domain", () => {
  let scene: Scene;
  let keeper: IdentityKeeper;
  let wire: WireLink;

  beforeAll(async () => {
    scene = await Scene.start({
      dataDir: (domain) => (domain === "blue.example" && disk !== undefined ? join(disk.directory, "data") : undefined),
    });
    keeper = await enrol(scene.world, "blue.example/people/mallory");
    wire = await WireLink.attached(configOf(scene.world, "blue.example/").gateways[0]?.url ?? "", ownerOf(keeper));
  }, 120_000);

  beforeEach(() => disk?.free());

  afterAll(async () => {
    wire?.link.close();
    await keeper?.stop();
    await scene?.[Symbol.asyncDispose]();
    disk?.[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Fills the disk for the time of `work`. */
  async function whileFull<T>(work: () => Promise<T>): Promise<T> {
    return await scene.harmless(async () => {
      disk?.fill();
      try {
        return await work();
      } finally {
        disk?.free();
      }
    });
  }

  /** Registers a record of mallory's with this revision. */
  const register = (revision: bigint) => {
    const url = configOf(scene.world, "blue.example/").registry?.url ?? "";
    const signed = forgeRecord(keeper.identity.signer("record"), { agentId, revision });
    const caller = { url, tls: keeper.identity.tls(), trust: keeper.trust };
    return calling(ars.RegistryService, caller, async (client) => ({
      signed,
      ...(await client.register({ record: signed })),
    }));
  };

  test("the authority issues nothing that it cannot record, says so, and goes on when there is space", async () => {
    const [operator] = scene.world.network.operators;
    const log = scene.log("blue.example/authority");
    const newcomer = { spiffeId: "spiffe://blue.example/people/new-mallory", role: "agent" };
    expect(await whileFull(() => codeOf(operator.authority.createToken(newcomer)))).toBe("CAUSEWAY_STORE_FULL");
    await log.expect("h2.call_failed", { code: "CAUSEWAY_STORE_FULL" });
    expect((await operator.authority.createToken(newcomer)).token).toMatch(/^cwj1\./);
  });

  test("the registry registers nothing that it cannot store, keeps what it has, and goes on when there is space", async () => {
    const log = scene.log("blue.example/registry");
    await register(1n);
    expect(await whileFull(() => codeOf(register(2n)))).toBe("CAUSEWAY_STORE_FULL");
    await log.expect("h2.call_failed", { peer: agentId, code: "CAUSEWAY_STORE_FULL" });
    expect((await register(2n)).revision).toBe(2n);
  });

  /** Asks gw1 to announce a record; the code of the refusal. */
  async function advertise(registered: Awaited<ReturnType<typeof register>>): Promise<string | undefined> {
    const { signed, receipt } = registered;
    wire.received.length = 0;
    wire.sendBody({ case: "advertise", value: { request: ++requests, record: signed, ...(receipt && { receipt }) } });
    await wire.frame(FrameKind.advertiseResult);
    const [result] = wire.bodies.filter((body) => body.case === "advertiseResult");
    return result?.value.error?.code;
  }
  let requests = 0n;

  test("a gateway announces nothing that it cannot store, keeps what it has, and goes on when there is space", async () => {
    const log = scene.log("blue.example/gw1");
    const registered = await register(3n);
    const before = await scene.observe();
    disk?.fill();
    expect(await advertise(registered)).toBe("CAUSEWAY_STORE_FULL");
    await log.expect("records.advertisement_refused", { agentId, code: "CAUSEWAY_STORE_FULL" });
    await log.expect("sync.store_failed", { code: "CAUSEWAY_STORE_FULL" });
    disk?.free();
    await until("the announcement, now that there is space", async () => (await advertise(registered)) === undefined);
    await until("everything to be as before", async () => isDeepStrictEqual(await scene.observe(), before));
    await scene.exchange();
  });

  test("messages between others pass while a gateway cannot store", async () => {
    const log = scene.log("blue.example/gw1");
    const registered = await register(4n);
    disk?.fill();
    expect(await advertise(registered)).toBe("CAUSEWAY_STORE_FULL");
    for (let round = 0; round < 20; round++) await scene.exchange();
    disk?.free();
    await log.expect("sync.store_recovered");
    expect(await advertise(registered)).toBeUndefined();
  });
});
