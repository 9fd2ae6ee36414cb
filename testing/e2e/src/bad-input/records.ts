/** Records that their agent did not sign so, at registry and gateway. */
import { create, fromBinary } from "@bufbuild/protobuf";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { asUnixMs } from "@causeway/core-base";
import type { Signer } from "@causeway/core-identity";
import { createTestDomain } from "@causeway/core-identity/testing";
import { aca, ars, FrameKind, record } from "@causeway/core-wire";
import type { Client } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { calling, codeOf } from "../adversary/calls.ts";
import { configOf, enrol, Forger } from "../adversary/credentials.ts";
import { forgeRecord, tampered } from "../adversary/forged-record.ts";
import type { Scene } from "../adversary/scene.ts";
import type { ServiceLog } from "../adversary/service-log.ts";
import { ownerOf, WireLink } from "../adversary/wire-link.ts";
import { until } from "../world.ts";

/** Registers the tests; `world` gives the scene once it has started. */
export function sendBadRecords(world: () => Scene): void {
  const agentId = "spiffe://blue.example/people/mallory";

  let scene: Scene;
  let keeper: IdentityKeeper;
  let mallory: Signer;
  let log: ServiceLog;

  beforeAll(async () => {
    scene = world();
    keeper = await enrol(scene.world, "blue.example/people/mallory");
    mallory = keeper.identity.signer("record");
    log = scene.log("blue.example/registry");
  }, 120_000);

  beforeEach(() => log.forget());

  afterAll(async () => {
    await keeper?.stop();
  });

  /** Calls the registry as mallory. */
  const registry = <T>(work: (client: Client<typeof ars.RegistryService>) => Promise<T>): Promise<T> =>
    calling(
      ars.RegistryService,
      {
        url: configOf(scene.world, "blue.example/").registry?.url ?? "",
        tls: keeper.identity.tls(),
        trust: keeper.trust,
      },
      work,
    );

  /** The code with which the registry refuses a record; shows that nothing else happened and that the log has it. */
  async function refusalOf(signed: record.SignedRecord | undefined): Promise<string> {
    log.forget();
    const code = await scene.harmless(() =>
      registry((client) => codeOf(client.register(signed === undefined ? {} : { record: signed }))),
    );
    await log.expect("h2.call_refused", { peer: agentId, code });
    return code;
  }

  /** What the registry holds of mallory: the revision, or undefined. */
  const held = (): Promise<bigint | undefined> =>
    registry((client) =>
      client.getRecord({ agentId }).then(
        ({ match }) => revisionOf(match?.record),
        () => undefined,
      ),
    );

  const revisionOf = (signed: record.SignedRecord | undefined): bigint =>
    fromBinary(record.RecordBodySchema, signed?.body ?? new Uint8Array()).revision;

  describe("records that the registry refuses", () => {
    test("a record in another agent's name: signed by the wrong key, copied from its owner, or for a name that is free", async () => {
      const original = await registry((client) => client.getRecord({ agentId: scene.alice.id }));
      expect(revisionOf(original.match?.record)).toBeGreaterThan(0n);
      expect(await refusalOf(forgeRecord(mallory, { agentId: scene.alice.id, revision: 99n }))).toBe(
        "CAUSEWAY_RECORD_NOT_OWNER",
      );
      expect(await refusalOf(original.match?.record)).toBe("CAUSEWAY_RECORD_NOT_OWNER");
      const free = "spiffe://blue.example/people/nobody-like-mallory";
      expect(await refusalOf(forgeRecord(mallory, { agentId: free }))).toBe("CAUSEWAY_RECORD_NOT_OWNER");
    });

    test("a record that was changed after it was signed, or has no signature", async () => {
      const good = forgeRecord(mallory, { agentId });
      expect(await refusalOf(tampered(good))).toBe("CAUSEWAY_IDENTITY_SIGNATURE_INVALID");
      expect(await refusalOf(create(record.SignedRecordSchema, { body: good.body }))).toMatch(/^CAUSEWAY_IDENTITY_/);
      expect(await refusalOf(undefined)).toBe("CAUSEWAY_RECORD_MALFORMED");
      expect(await held()).toBeUndefined();
    });

    test("a credential that is missing, expired, revoked or foreign: four different reasons [ANA-81]", async () => {
      const forger = await Forger.open(scene.world, keeper.identity);
      const past = { notBefore: asUnixMs(Date.now() - 7_200_000), notAfter: asUnixMs(Date.now() - 3_600_000) };
      const expired = forger.issue(agentId.slice("spiffe://".length), { purpose: "record", ...past });
      const stranger = createTestDomain("red.example", { now: asUnixMs(Date.now()) }).identity("people/mallory");
      const former = await enrol(scene.world, "blue.example/people/former-mallory");
      await using _stop = { [Symbol.asyncDispose]: () => former.stop() };
      const [operator] = scene.world.network.operators;
      await operator.authority.revoke({ spiffeId: former.spiffeId, reason: aca.RevocationReason.KEY_COMPROMISE });
      const formers = forgeRecord(former.identity.signer("record"), { agentId });
      await until("the registry to know of the revocation", async () =>
        (await registry((client) => codeOf(client.register({ record: formers })))).endsWith("REVOKED"),
      );
      const signers: readonly (readonly [string, Signer])[] = [
        ["CAUSEWAY_IDENTITY_CERTIFICATE_MISSING", { ...mallory, chain: [] }],
        ["CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED", expired.signer],
        ["CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED", former.identity.signer("record")],
        ["CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED", stranger.signer("record")],
      ];
      for (const [code, signer] of signers) expect(await refusalOf(forgeRecord(signer, { agentId }))).toBe(code);
      expect(await held()).toBeUndefined();
    });

    test("a record of more than 16 KiB", async () => {
      expect(await refusalOf(forgeRecord(mallory, { agentId, description: "x".repeat(16_384) }))).toBe(
        "CAUSEWAY_RECORD_TOO_LARGE",
      );
      expect(await held()).toBeUndefined();
    });

    test("a record that is older than the one held, or another one under the same revision", async () => {
      const newest = forgeRecord(mallory, { agentId, revision: 5n });
      await registry((client) => client.register({ record: newest }));
      expect(await refusalOf(forgeRecord(mallory, { agentId, revision: 4n }))).toBe("CAUSEWAY_RECORD_OLDER");
      const other = forgeRecord(mallory, { agentId, revision: 5n, description: "Something else" });
      expect(await refusalOf(other)).toBe("CAUSEWAY_RECORD_OLDER");
      expect(await held()).toBe(5n);
      // The same again is no offence.
      expect((await registry((client) => client.register({ record: newest }))).revision).toBe(5n);
    });

    test("a registration that belongs to somebody else is not ended", async () => {
      log.forget();
      const code = await scene.harmless(() =>
        registry((client) => codeOf(client.deregister({ resourceId: "rid-00000000000000000000000000000000" }))),
      );
      expect(code).toBe("CAUSEWAY_RECORD_NOT_FOUND");
      await log.expect("registry.deregistration_refused", { caller: agentId });
    });
  });

  describe("records that a gateway refuses to announce", () => {
    test("changed, another agent's, without receipt, with another's receipt, older [ANA-98]", async () => {
      const url = configOf(scene.world, "blue.example/").gateways[0]?.url ?? "";
      const gatewayLog = scene.log("blue.example/gw1");
      using wire = await WireLink.attached(url, ownerOf(keeper));
      const good = forgeRecord(mallory, { agentId, revision: 6n });
      const { receipt } = await registry((client) => client.register({ record: good }));
      const newer = forgeRecord(mallory, { agentId, revision: 7n });
      const alices = (await registry((client) => client.getRecord({ agentId: scene.alice.id }))).match?.record;
      let request = 0n;
      const advertise = async (value: { record?: record.SignedRecord; receipt?: record.SignedReceipt }) => {
        wire.received.length = 0;
        wire.sendBody({ case: "advertise", value: { request: ++request, ...value } });
        await wire.frame(FrameKind.advertiseResult);
        const [result] = wire.bodies.filter((body) => body.case === "advertiseResult");
        return result?.value.error?.code;
      };
      const bad: readonly (readonly [string, Parameters<typeof advertise>[0]])[] = [
        ["CAUSEWAY_IDENTITY_SIGNATURE_INVALID", { record: tampered(good), ...(receipt && { receipt }) }],
        ["CAUSEWAY_RECORD_NOT_OWNER", { ...(alices && { record: alices }), ...(receipt && { receipt }) }],
        ["CAUSEWAY_RECORD_NOT_REGISTERED", { record: good }],
        ["CAUSEWAY_RECORD_NOT_REGISTERED", { record: newer, ...(receipt && { receipt }) }],
      ];
      const [operator] = scene.world.network.operators;
      const [gateway] = operator.gateways("gw1");
      if (gateway === undefined) throw new Error("no gw1");
      const admin = operator.gateway(gateway);
      const announced = async () =>
        (await admin.listRoutes({ prefix: agentId })).routes.filter((route) => route.sequence > 0n).length;
      await scene.harmless(async () => {
        for (const [code, value] of bad) {
          expect(await advertise(value)).toBe(code);
          await gatewayLog.expect("records.advertisement_refused", { agentId, code });
        }
      });
      expect(await announced()).toBe(0);
      expect(await advertise({ record: good, ...(receipt && { receipt }) })).toBeUndefined();
      expect(await announced()).toBe(1);
      const latest = forgeRecord(mallory, { agentId, revision: 8n });
      const registered = await registry((client) => client.register({ record: latest }));
      expect(
        await advertise({ record: latest, ...(registered.receipt && { receipt: registered.receipt }) }),
      ).toBeUndefined();
      await scene.harmless(async () => {
        expect(await advertise({ record: good, ...(receipt && { receipt }) })).toBe("CAUSEWAY_RECORD_OLDER");
      });
      await gatewayLog.expect("records.advertisement_refused", { agentId, code: "CAUSEWAY_RECORD_OLDER" });
    });
  });
}
