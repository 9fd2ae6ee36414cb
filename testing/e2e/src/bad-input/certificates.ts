/** Certificates that prove nothing, and good ones in the wrong place. */
import { createPort, type Port } from "@causeway/adapter-h2";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { MemoryLog } from "@causeway/adapter-telemetry";
import { serverOptions, verifiedPeerOf } from "@causeway/adapter-tls";
import { connect } from "@causeway/agent/node";
import { asUnixMs } from "@causeway/core-base";
import { encodeJoinToken, parseJoinToken } from "@causeway/core-identity";
import { createTestDomain } from "@causeway/core-identity/testing";
import { aca, admin, amsp, ars } from "@causeway/core-wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { calling, codeOf } from "../adversary/calls.ts";
import { configOf, enrol, type Forged, Forger, selfSigned } from "../adversary/credentials.ts";
import { RawSession } from "../adversary/raw-session.ts";
import type { Scene } from "../adversary/scene.ts";
import { ownerOf, WireLink } from "../adversary/wire-link.ts";
import { until } from "../world.ts";

/** Registers the tests; `world` gives the scene once it has started. */
export function presentBadCertificates(world: () => Scene): void {
  const name = "blue.example/people/mallory";
  const hour = 3_600_000;

  let scene: Scene;
  let keeper: IdentityKeeper;
  let forger: Forger;
  const config = () => configOf(scene.world, "blue.example/");
  const gatewayUrl = (level: 1 | 2): string => config().gateways.find((gateway) => gateway.level === level)?.url ?? "";

  beforeAll(async () => {
    scene = world();
    keeper = await enrol(scene.world, name);
    forger = await Forger.open(scene.world, keeper.identity);
  }, 120_000);

  afterAll(async () => {
    await keeper?.stop();
  });

  /** Comes to every port of both domains with a certificate: the code of each refusal, which its log names too. */
  async function knockEverywhere(tls: Forged["tls"]): Promise<Record<string, string | undefined>> {
    const { services } = scene.world.supervisor;
    return await scene.harmless(async () => {
      const codes = services.map(async ({ name: service, url }) => {
        const log = scene.log(service);
        using session = RawSession.open(url, tls, keeper.trust);
        const stream = session.request({ ":path": "/causeway.aca.v1.AuthorityService/GetTrust" });
        stream.stream.end(Buffer.alloc(5));
        const code =
          (await Promise.race([session.refused, stream.ended.then((end) => end.code)])) ?? (await session.refused);
        await log.expect(
          service.endsWith("authority") && code === selfSignedCode ? "h2.call_refused" : "h2.session_refused",
          {
            code: code ?? "no refusal",
          },
        );
        return [service, code] as const;
      });
      return Object.fromEntries(await Promise.all(codes));
    });
  }

  const selfSignedCode = "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED";
  const everywhere = (code: string): Record<string, string> =>
    Object.fromEntries(scene.world.supervisor.services.map((service) => [service.name, code]));

  describe("a certificate that proves nothing, at every port of both domains", () => {
    test("self-signed [AGP-31]", async () => {
      expect(await knockEverywhere(selfSigned(name))).toEqual(everywhere(selfSignedCode));
    });

    test("of a domain that nobody trusts [AGP-31]", async () => {
      const stranger = createTestDomain("red.example", { now: asUnixMs(Date.now()) }).identity("people/mallory");
      expect(await knockEverywhere(stranger.tls())).toEqual(everywhere("CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED"));
    });

    test("of an authority that only calls itself the domain's [AGP-31]", async () => {
      const impostor = createTestDomain("blue.example", { now: asUnixMs(Date.now()) }).identity("people/mallory");
      expect(await knockEverywhere(impostor.tls())).toEqual(everywhere("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED"));
    });

    test("expired, or not valid yet, though the right authority has issued it [AGP-31]", async () => {
      const at = (from: number, to: number) => ({
        notBefore: asUnixMs(Date.now() + from * hour),
        notAfter: asUnixMs(Date.now() + to * hour),
      });
      for (const validity of [at(-2, -1), at(1, 2)]) {
        const expired = forger.issue(name, validity);
        expect(await knockEverywhere(expired.tls)).toEqual(everywhere("CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED"));
      }
    });

    test("made for signing records, not for connections", async () => {
      const keys = { purpose: "record" } as const;
      expect(await knockEverywhere(forger.issue(name, keys).tls)).toEqual(everywhere("CAUSEWAY_IDENTITY_ROLE_WRONG"));
    });
  });

  describe("revocation", () => {
    test("ends the attachment with the reason, and nobody of the domain lets the certificate in again", async () => {
      const gone = await enrol(scene.world, "blue.example/people/former-mallory");
      await using _stop = { [Symbol.asyncDispose]: () => gone.stop() };
      using wire = await WireLink.attached(gatewayUrl(1), ownerOf(gone));
      const services = scene.world.supervisor.services.filter((service) => service.name.startsWith("blue."));
      const logs = services.map((service) => scene.log(service.name));
      // Connections that are open already end as well, wherever they are.
      const open = services.map(({ url }) => RawSession.open(url, gone.identity.tls(), keeper.trust));
      await Promise.all(open.map((session) => session.ready));
      await scene.harmless(async () => {
        const [operator] = scene.world.network.operators;
        await operator.authority.revoke({ spiffeId: gone.spiffeId, reason: aca.RevocationReason.KEY_COMPROMISE });
        await until("the end of the attachment", () => wire.end !== undefined, 5_000);
        expect(wire.bodies.at(-1)).toMatchObject({
          case: "sessionEnd",
          value: { error: { code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" } },
        });
        for (const { url } of services) {
          // A service that has not heard yet lets it in and ends the connection when it does.
          await until(`the refusal at ${url}`, async () => {
            using session = RawSession.open(url, gone.identity.tls(), keeper.trust);
            return (await session.refused) === "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED";
          });
        }
      });
      for (const log of logs) await log.expect("h2.session_refused", { code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" });
    });
  });

  describe("a good certificate in the wrong place", () => {
    const at = (url: string, tls = keeper.identity.tls()) => ({ url, tls, trust: keeper.trust });

    test("an agent may not do what operators do", async () => {
      const logs = ["authority", "gw1"].map((service) => scene.log(`blue.example/${service}`));
      await scene.harmless(async () => {
        await calling(aca.AuthorityService, at(config().authority.url), async (authority) => {
          const spiffeId = "spiffe://blue.example/operator/mallory";
          expect(await codeOf(authority.createToken({ spiffeId, role: "operator" }))).toBe(
            "CAUSEWAY_IDENTITY_ROLE_WRONG",
          );
          expect(await codeOf(authority.revoke({ spiffeId: scene.alice.id }))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
          expect(await codeOf(authority.removeTrust({ domain: "green.example" }))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
        });
        await calling(admin.GatewayAdminService, at(gatewayUrl(1)), async (gateway) => {
          expect(await codeOf(gateway.detach({ agentId: scene.alice.id }))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
          expect(await codeOf(gateway.drain({}))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
        });
      });
      for (const log of logs)
        await log.expect("h2.call_refused", { peer: keeper.spiffeId, code: "CAUSEWAY_IDENTITY_ROLE_WRONG" });
    });

    test("a member of another domain is a stranger at authority, registry and admin service", async () => {
      const foreign = await enrol(scene.world, "green.example/people/mallory");
      await using _stop = { [Symbol.asyncDispose]: () => foreign.stop() };
      const tls = foreign.identity.tls();
      const { authority, registry } = config();
      const log = scene.log("blue.example/registry");
      await scene.harmless(async () => {
        await calling(aca.AuthorityService, at(authority.url, tls), async (client) => {
          expect(await codeOf(client.renew({}))).toBe("CAUSEWAY_IDENTITY_DOMAIN_FOREIGN");
        });
        await calling(ars.RegistryService, at(registry?.url ?? "", tls), async (client) => {
          expect(await codeOf(client.discover({}))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
        });
        await calling(admin.GatewayAdminService, at(gatewayUrl(2), tls), async (client) => {
          expect(await codeOf(client.listRoutes({}))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
        });
      });
      await log.expect("h2.call_refused", { peer: foreign.spiffeId, code: "CAUSEWAY_IDENTITY_ROLE_WRONG" });
    });

    test("a join token that was used, or is made up, gets nothing", async () => {
      const [operator] = scene.world.network.operators;
      const log = scene.log("blue.example/authority");
      const token = await operator.agentToken("blue.example/people/late-mallory");
      const again = await enrol(scene.world, "blue.example/people/late-mallory", { token });
      await again.stop();
      await scene.harmless(async () => {
        const thief = enrol(scene.world, "blue.example/people/late-mallory", { token, folder: "thief" });
        expect(await codeOf(thief)).toBe("CAUSEWAY_IDENTITY_TOKEN_INVALID");
        const forged = encodeJoinToken({ ...parseJoinToken(token), secret: "A".repeat(43) });
        const guess = enrol(scene.world, "blue.example/people/new-mallory", { token: forged });
        expect(await codeOf(guess)).toBe("CAUSEWAY_IDENTITY_TOKEN_INVALID");
      });
      await log.expect("h2.call_refused", { peer: "applicant", code: "CAUSEWAY_IDENTITY_TOKEN_INVALID" });
    });

    test("peering with a certificate that is none of a gateway yields no record and no hint [AMSP-104]", async () => {
      const uri = "https://former-mallory.blue.example/amsp";
      const former = await enrol(scene.world, "blue.example/gateway/former-mallory", { gateway: { uri, level: 2 } });
      await using _stop = { [Symbol.asyncDispose]: () => former.stop() };
      const [operator] = scene.world.network.operators;
      await operator.authority.revoke({ spiffeId: former.spiffeId, reason: aca.RevocationReason.KEY_COMPROMISE });
      const status = () =>
        calling(amsp.SyncService, at(gatewayUrl(2), former.identity.tls()), (sync) => sync.status({}));
      await until("the revocation to be known", () =>
        status().then(
          () => false,
          () => true,
        ),
      );
      const bad: readonly (readonly [string, Forged["tls"]])[] = [
        [selfSignedCode, selfSigned(name)],
        ["CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED", former.identity.tls()],
        [
          "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
          forger.gateway("blue.example/gateway/mallory", "https://mallory.blue.example/amsp", 2, {
            notBefore: asUnixMs(Date.now() - 2 * hour),
            notAfter: asUnixMs(Date.now() - hour),
          }).tls,
        ],
        ["CAUSEWAY_IDENTITY_ROLE_WRONG", keeper.identity.tls()],
      ];
      const log = scene.log("blue.example/gw2");
      await scene.harmless(async () => {
        for (const [code, tls] of bad) {
          const received: amsp.Message[] = [];
          const refusal = calling(amsp.SyncService, at(gatewayUrl(2), tls), async (sync) => {
            for await (const message of sync.session(hello())) received.push(message);
          });
          expect(await codeOf(refusal)).toBe(code);
          expect(received).toEqual([]);
          await log.expect(code === "CAUSEWAY_IDENTITY_ROLE_WRONG" ? "h2.call_refused" : "h2.session_refused", {
            code,
          });
        }
        using nobody = RawSession.open(gatewayUrl(2), undefined, keeper.trust);
        expect(await nobody.refused).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING");
      });
    });
  });

  async function* hello() {
    yield {
      body: {
        case: "hello",
        value: { version: 1, gatewayUri: "https://mallory.blue.example/amsp", role: amsp.PeerRole.LEVEL2 },
      },
    } as const;
    await new Promise(() => undefined);
  }

  describe("an impostor at the other end", () => {
    let port: Port | undefined;
    afterAll(() => port?.stop({ deadlineMs: 0 }));

    test("an agent that is led to a false gateway sees it in the handshake, says so and takes the next one [AAP-62]", async () => {
      const log = new MemoryLog();
      const impostorLog = new MemoryLog();
      let links = 0;
      const tls = keeper.identity.tls();
      // The certificate is valid and of the right domain; but it is an agent's.
      port = createPort({
        log: impostorLog,
        tls: () => serverOptions(tls),
        port: 0,
        authenticate: (socket) => verifiedPeerOf(socket, keeper.trust, asUnixMs(Date.now())),
        onLink: () => void (links += 1),
      });
      const impostor = await port.start();
      const [operator] = scene.world.network.operators;
      const agent = await connect({
        name: "blue.example/people/victim-of-mallory",
        token: await operator.agentToken("blue.example/people/victim-of-mallory"),
        dataDir: `${scene.world.home.directory}/victim`,
        masterKeyFile: scene.world.home.masterKeyFile,
        gateway: [impostor.url, gatewayUrl(1)],
        log,
      });
      await using _close = { [Symbol.asyncDispose]: () => agent.close() };
      expect((await agent.request(scene.bob.id, { method: "echo", data: 1 })).data).toBe(1);
      expect(links).toBe(0);
      expect(impostorLog.of("h2.handshake_failed")).not.toEqual([]);
      expect(log.lines.map((line) => JSON.stringify(line.fields))).toContainEqual(
        expect.stringContaining("CAUSEWAY_IDENTITY_ROLE_WRONG"),
      );
    });
  });
}
