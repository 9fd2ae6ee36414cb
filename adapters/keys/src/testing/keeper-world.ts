import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { isCausewayError, parseAgentId, type Random } from "@causeway/core-base";
import { applicantKeyOf, decodePem, parseCertificate } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import type { Caller } from "@causeway/service-authority";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { World } from "../../../../services/authority/src/testing/authority-world.ts";
import {
  type AuthorityConnection,
  type AuthorityTransport,
  certificateRequests,
  type Enrolment,
  generatePurposeKeys,
  type IdentityKeeper,
  type IdentityKeeperOptions,
  type KeyVault,
  nodeCrypto,
  openIdentityKeeper,
  openKeyVault,
  type TlsIdentity,
} from "../index.ts";

/** A keeper and its authority, with a network between them that a test can cut and listen to. */
export class KeeperWorld implements AsyncDisposable {
  readonly world: World;
  readonly home: string;
  /** Bytes that went to the authority. */
  readonly sent: Uint8Array[] = [];
  /** Connections that were asked for. */
  readonly connections: AuthorityConnection[] = [];
  /** When each WatchTrust stream was opened. */
  readonly watchedAt: number[] = [];
  #cut = new AbortController();
  #isDown = false;
  #loseAnswers = 0;
  #server: { readonly chain: readonly Uint8Array[]; readonly untilUnixMs: number } = { chain: [], untilUnixMs: 0 };
  readonly #keepers: IdentityKeeper[] = [];

  private constructor(world: World) {
    this.world = world;
    this.home = mkdtempSync(join(tmpdir(), "causeway-keeper-"));
  }

  static async open(options: Parameters<typeof World.open>[0] = {}): Promise<KeeperWorld> {
    return new KeeperWorld(await World.open(options));
  }

  vault(name = "agent"): Promise<KeyVault> {
    return openKeyVault({ directory: join(this.home, name), masterKeyFile: join(this.home, "master.key") });
  }

  async keeper(
    options: Partial<IdentityKeeperOptions> & { readonly enrolment?: Enrolment } = {},
  ): Promise<IdentityKeeper> {
    const keeper = await openIdentityKeeper({
      vault: await this.vault(),
      connect: (connection) => this.#connect(connection),
      fetchRoot: () => (this.#isDown ? Promise.reject(unavailable()) : Promise.resolve(this.world.authority.root)),
      scheduler: this.world.scheduler,
      random: steady,
      ...options,
    });
    this.#keepers.push(keeper);
    return keeper;
  }

  /** A whole join token for this name. */
  async joinToken(spiffeId: string): Promise<string> {
    return (await this.world.operator.client.createToken({ spiffeId })).token;
  }

  /** Cuts every connection and refuses new ones. */
  goDown(): void {
    this.#isDown = true;
    this.#cut.abort();
  }

  comeUp(): void {
    this.#isDown = false;
    this.#cut = new AbortController();
  }

  /** The next answers are lost after the authority has acted. */
  loseAnswers(count: number): void {
    this.#loseAnswers = count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const keeper of this.#keepers) await keeper.stop();
    await this.world.authority.stop();
    rmSync(this.home, { recursive: true, force: true });
  }

  #connect(connection: AuthorityConnection): AuthorityTransport {
    this.connections.push(connection);
    const base = this.world.transport(() => this.#callerOf(connection.identity()));
    const closed = new AbortController();
    const gate = () => {
      if (this.#isDown || closed.signal.aborted) throw unavailable();
      connection.trust.verifyChain(this.#serverChain(), {
        now: this.world.scheduler.now().unix,
        purpose: "tls",
        roles: connection.expect.roles,
      });
    };
    const transport: Transport = {
      unary: async (method, signal, timeoutMs, header, input) => {
        gate();
        if (method.input.typeName === aca.EnrolRequestSchema.typeName) {
          this.sent.push(toBinary(aca.EnrolRequestSchema, input as aca.EnrolRequest));
        }
        if (method.input.typeName === aca.RenewRequestSchema.typeName) {
          this.sent.push(toBinary(aca.RenewRequestSchema, input as aca.RenewRequest));
        }
        const answer = await base.unary(method, signal, timeoutMs, header, input);
        if (this.#loseAnswers > 0) {
          this.#loseAnswers--;
          throw unavailable();
        }
        return answer;
      },
      stream: (method, signal, timeoutMs, header, input) => {
        this.watchedAt.push(this.world.scheduler.now().instant);
        gate();
        const ends = AbortSignal.any([this.#cut.signal, closed.signal, ...(signal ? [signal] : [])]);
        return base.stream(method, ends, timeoutMs, header, input);
      },
    };
    return { ...transport, close: () => closed.abort() };
  }

  /** What the authority's server shows, valid now. */
  #serverChain(): readonly Uint8Array[] {
    const now = this.world.scheduler.now().unix;
    if (now < this.#server.untilUnixMs) return this.#server.chain;
    const spiffeId = parseAgentId(`${this.world.authority.domain}/authority`);
    const requests = certificateRequests(spiffeId, generatePurposeKeys("authority"));
    const { certificates } = this.world.authority.issueOwn({ spiffeId, role: "authority", requests });
    const chain = certificates.find((c) => c.purpose === aca.KeyPurpose.TLS)?.chain ?? [];
    this.#server = { chain, untilUnixMs: parseCertificate(chain[0] ?? new Uint8Array()).notAfter };
    return chain;
  }

  /** As the TLS layer of the authority: a chain of the domain, or an applicant's own certificate. */
  #callerOf(identity: TlsIdentity): Caller {
    const chain = decodePem("CERTIFICATE", identity.chainPem);
    try {
      return this.world.peer(chain);
    } catch (thrown) {
      const [leaf] = chain;
      if (leaf && isCausewayError(thrown) && thrown.code === "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED") {
        return { applicant: true, spki: applicantKeyOf(nodeCrypto, leaf) };
      }
      throw thrown;
    }
  }
}

/** Waits for real work (files, keys) without moving the clock of the test. */
export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("what was waited for did not happen");
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

const unavailable = () => new ConnectError("connection refused", Code.Unavailable);

/** No jitter. */
const steady: Random = { bytes: (length) => new Uint8Array(length), fraction: () => 0 };
