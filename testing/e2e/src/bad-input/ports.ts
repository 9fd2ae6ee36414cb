/** A scanner at every listening port. */
import { connect as connectTcp, type Socket } from "node:net";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { enrol } from "../adversary/credentials.ts";
import { tlsOf } from "../adversary/raw-session.ts";
import {
  h2Preface,
  isResumed,
  listeningPorts,
  sayInClear,
  sayOverTls,
  sClient,
  type Target,
  targetOf,
} from "../adversary/scanner.ts";
import type { Scene } from "../adversary/scene.ts";
import type { ServiceLog } from "../adversary/service-log.ts";

/** Registers the tests; `world` gives the scene once it has started. */
export function scanPorts(world: () => Scene): void {
  interface Door {
    readonly name: string;
    readonly target: Target;
    readonly log: ServiceLog;
  }

  let scene: Scene;
  let keeper: IdentityKeeper;
  let doors: readonly Door[] = [];

  beforeAll(async () => {
    scene = world();
    keeper = await enrol(scene.world, "blue.example/people/mallory");
    doors = scene.world.supervisor.services.map(({ name, url }) => ({
      name,
      target: targetOf(url),
      log: scene.log(name),
    }));
    expect(doors).toHaveLength(8);
  }, 120_000);

  afterAll(async () => {
    await keeper?.stop();
  });

  /** Tries something at every port of both domains. */
  function atEveryDoor<T>(attempt: (door: Door) => Promise<T>): Promise<T[]> {
    for (const { log } of doors) log.forget();
    return scene.harmless(() => Promise.all(doors.map(attempt)));
  }

  const request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

  describe("every listening port of both domains", () => {
    test("listens for nothing but TLS: no process has a port that is not among them [AGP-40]", async () => {
      const listening = listeningPorts(scene.world.supervisor.services.map((service) => service.pid ?? 0));
      expect(listening.toSorted()).toEqual(doors.map(({ target }) => target.port).toSorted());
    });

    test("answers clear text with at most a TLS alert [AGP-40, AGP-55]", async () => {
      await atEveryDoor(async ({ target, log }) => {
        for (const bytes of [request, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Uint8Array.of(0, 0, 4, 1, 2, 3)]) {
          const answer = await sayInClear(target, bytes);
          // Content type 21 of the record layer is an alert.
          if (answer.length > 0) expect([answer[0], answer.length]).toEqual([21, 7]);
        }
        await log.expect("h2.handshake_failed");
      });
    });

    test.for(["TLSv1", "TLSv1.1", "TLSv1.2"] as const)(
      "refuses %s, with a good certificate [AGP-40]",
      async (version) => {
        const {
          minVersion: _min,
          maxVersion: _max,
          ciphers: _ciphers,
          ...tls
        } = tlsOf(keeper.identity.tls(), keeper.trust);
        await atEveryDoor(async ({ target, log }) => {
          const old = { ...tls, minVersion: version, maxVersion: version, ciphers: "DEFAULT@SECLEVEL=0" };
          const outcome = await sayOverTls(target, old, request);
          expect(outcome).toMatchObject({ protocol: undefined, received: "" });
          expect(outcome.error).toMatch(/PROTOCOL_VERSION|ECONNRESET/);
          await log.expect("h2.handshake_failed", { reason: /version|unsupported protocol/i });
        });
      },
    );

    test("speaks only the suites of TLS 1.3 with AES-GCM and ChaCha20 [AGP-41]", async () => {
      const suites = [
        "AES_128_GCM_SHA256",
        "AES_256_GCM_SHA384",
        "CHACHA20_POLY1305_SHA256",
        "AES_128_CCM_SHA256",
        "AES_128_CCM_8_SHA256",
      ];
      const accepted = await atEveryDoor(async ({ target }) => {
        const outputs = await Promise.all(
          suites.map((suite) => sClient(target, "-tls1_3", "-alpn", "h2", "-ciphersuites", `TLS_${suite}`)),
        );
        return suites.filter((suite, i) => outputs[i]?.includes(`Cipher is TLS_${suite}`));
      });
      expect(accepted).toEqual(doors.map(() => suites.slice(0, 3)));
    });

    test("agrees on a fresh key in every handshake, and resumes no session [AGP-43]", async () => {
      const tls = tlsOf(keeper.identity.tls(), keeper.trust);
      await atEveryDoor(async ({ target }) => {
        const output = await sClient(target, "-tls1_3", "-alpn", "h2");
        expect(output).toContain("New, TLSv1.3");
        expect(output).toMatch(/(Server|Peer) Temp Key: (X25519|ECDH)/);
        expect(output).not.toMatch(/Max Early Data: [1-9]/);
        expect(await isResumed(target, tls)).toBe(false);
      });
    });

    test("refuses a client of HTTP/1.1, with a good certificate, with a log line", async () => {
      const tls = tlsOf(keeper.identity.tls(), keeper.trust);
      await atEveryDoor(async ({ target, log }) => {
        const old = await sayOverTls(target, { ...tls, ALPNProtocols: ["http/1.1"] }, request);
        expect(old).toMatchObject({ received: "", error: expect.stringContaining("NO_APPLICATION_PROTOCOL") });
        await log.expect("h2.handshake_failed");
        const { ALPNProtocols: _alpn, ...silent } = tls;
        expect(await sayOverTls(target, silent, request)).toMatchObject({ received: "" });
        await log.expect("h2.session_refused", { code: "CAUSEWAY_UNSUPPORTED" });
      });
    });

    test("refuses a client without certificate and says so [AGP-42]", async () => {
      await atEveryDoor(async ({ target, log }) => {
        const outcome = await sayOverTls(target, { ...tlsOf(undefined, keeper.trust) }, h2Preface);
        expect(outcome.received).toContain("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING");
        await log.expect("h2.session_refused", { code: "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING" });
      });
    });

    test("serves others while many connections stop in the middle of their handshake", async () => {
      const open: Socket[] = [];
      await scene.harmless(async () => {
        for (const { target } of doors) {
          for (let i = 0; i < 50; i++) open.push(halfHandshake(target, i));
        }
        await Promise.all(open.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
        // New connections, too: an enrolment goes to the authority, an attachment to the gateway.
        const late = await scene.world.agent("green.example/people/friend-of-mallory");
        expect((await late.request(scene.bob.id, { method: "echo", data: "still served" })).data).toBe("still served");
      });
      for (const socket of open) socket.destroy();
    });
  });

  /** The start of a TLS record that never becomes whole. */
  function halfHandshake(target: Target, i: number): Socket {
    const socket = connectTcp(target);
    socket.on("error", () => undefined);
    const start = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
    socket.write(start.subarray(0, 1 + (i % start.length)));
    return socket;
  }
}
