import { inspect } from "node:util";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  certificateRequests,
  generateKeyPair,
  generatePurposeKeys,
  type KeyPair,
  nodeCrypto,
  type PurposeKeys,
} from "@causeway/adapter-keys";
import { openAuthorityStore } from "@causeway/adapter-sqlite";
import { type AgentId, type AuthorityStore, type Log, parseAgentId, parseDomain, silentLog } from "@causeway/core-base";
import {
  type Purpose,
  parseJoinToken,
  purposes,
  roleOfName,
  TrustStore,
  type VerifiedPeer,
} from "@causeway/core-identity";
import { aca, common, fromErrorDetail } from "@causeway/core-wire";
import { type Client, ConnectError, createClient, createRouterTransport, type Transport } from "@connectrpc/connect";
import type { AuthorityConfig } from "../config.ts";
import { type Authority, authorityRoutes, type Caller, type FetchForeignCrls, openAuthority } from "../index.ts";
import { ManualScheduler } from "./manual-scheduler.ts";

/** Options of `openWorld`. */
export interface WorldOptions {
  readonly domain?: string;
  readonly scheduler?: ManualScheduler;
  readonly store?: AuthorityStore;
  readonly caKeys?: { readonly root: KeyPair; readonly issuing: KeyPair };
  readonly config?: Partial<AuthorityConfig>;
  readonly fetchForeignCrls?: FetchForeignCrls;
}

/** Someone with keys and certificates. */
export interface Member {
  readonly spiffeId: AgentId;
  readonly keys: PurposeKeys;
  readonly certificates: aca.CertificateSet;
  readonly client: Client<typeof aca.AuthorityService>;
  chain(purpose: Purpose): readonly Uint8Array[];
  serial(purpose: Purpose): Uint8Array;
}

/** One authority with real cryptography, reached over Connect's in-memory transport with the caller that a test names. */
export class World {
  readonly scheduler: ManualScheduler;
  readonly store: AuthorityStore;
  readonly caKeys: { readonly root: KeyPair; readonly issuing: KeyPair };
  readonly authority: Authority;
  /** How often the root's key was asked for. */
  readonly rootUses: { count: number };
  #operator: { readonly member: Member; readonly expiresUnixMs: number } | undefined;

  private constructor(parts: Pick<World, "scheduler" | "store" | "caKeys" | "authority" | "rootUses">) {
    this.scheduler = parts.scheduler;
    this.store = parts.store;
    this.caKeys = parts.caKeys;
    this.authority = parts.authority;
    this.rootUses = parts.rootUses;
  }

  /** The operator, with certificates that are good now. */
  get operator(): Member {
    const now = this.scheduler.now().unix;
    if (!this.#operator || this.#operator.expiresUnixMs <= now) {
      const keys = generatePurposeKeys("operator");
      const spiffeId = parseAgentId(`${this.authority.domain}/operator/admin`);
      const certificates = this.authority.issueOwn({
        spiffeId,
        role: "operator",
        requests: certificateRequests(spiffeId, keys),
      });
      this.#operator = { member: this.member(spiffeId, keys, certificates), expiresUnixMs: now + 86_400_000 };
    }
    return this.#operator.member;
  }

  static async open(options: WorldOptions = {}): Promise<World> {
    const scheduler = options.scheduler ?? new ManualScheduler();
    const store = options.store ?? openAuthorityStore({ path: ":memory:" });
    const caKeys = options.caKeys ?? { root: generateKeyPair("p256"), issuing: generateKeyPair("p256") };
    const rootUses = { count: 0 };
    const root = () => {
      rootUses.count++;
      return Promise.resolve(caKeys.root);
    };
    const authority = await openAuthority(
      { domain: parseDomain(options.domain ?? "blue.example"), url: "https://127.0.0.1:4400", ...options.config },
      {
        store,
        keys: { root, issuing: caKeys.issuing },
        crypto: nodeCrypto,
        scheduler,
        ...(options.fetchForeignCrls && { fetchForeignCrls: options.fetchForeignCrls }),
      },
    );
    return new World({ scheduler, store, caKeys, authority, rootUses });
  }

  /** A trust store with the authority's state of now. */
  trust(): TrustStore {
    const trust = new TrustStore(nodeCrypto);
    trust.replace(this.authority.trust());
    return trust;
  }

  /** A transport on which every call comes from this caller, judged anew for each call. */
  transport(caller: () => Caller): Transport {
    return createRouterTransport(authorityRoutes(this.authority, caller, failLoudly));
  }

  client(caller: () => Caller): Client<typeof aca.AuthorityService> {
    return createClient(aca.AuthorityService, this.transport(caller));
  }

  /** The verified peer of a chain, by a trust store that knows no revocation after the chain was made. */
  peer(chain: readonly Uint8Array[], purpose: Purpose = "tls"): VerifiedPeer {
    return this.trust().verifyChain(chain, { now: this.scheduler.now().unix, purpose });
  }

  member(spiffeId: AgentId, keys: PurposeKeys, certificates: aca.CertificateSet): Member {
    const chain = (purpose: Purpose) => {
      const wire = { tls: aca.KeyPurpose.TLS, mls: aca.KeyPurpose.MLS, record: aca.KeyPurpose.RECORD }[purpose];
      return certificates.certificates.find((c) => c.purpose === wire)?.chain ?? [];
    };
    // Proven once: as on a connection that was open before a revocation.
    const peers = new Map<Purpose, VerifiedPeer>(
      purposes
        .filter((purpose) => keys[purpose] !== undefined)
        .map((purpose) => [purpose, this.peer(chain(purpose), purpose)]),
    );
    const peer = (purpose: Purpose): VerifiedPeer => {
      const found = peers.get(purpose);
      if (!found) throw new Error(`no ${purpose} certificate`);
      return found;
    };
    return {
      spiffeId,
      keys,
      certificates,
      chain,
      client: this.client(() => peer("tls")),
      serial: (purpose) => peer(purpose).serial,
    };
  }

  /** A token from the operator; answers its secret. */
  async token(request: MessageInitShape<typeof aca.CreateTokenRequestSchema>): Promise<string> {
    const { token } = await this.operator.client.createToken(request);
    return parseJoinToken(token).secret;
  }

  /** Enrols with a fresh token for exactly this name. */
  async enrol(
    name: string,
    more: { readonly keys?: PurposeKeys } & MessageInitShape<typeof aca.CreateTokenRequestSchema> = {},
  ): Promise<Member> {
    const spiffeId = parseAgentId(name);
    const { keys = generatePurposeKeys(roleOfName(spiffeId)), ...tokenMore } = more;
    const token = await this.token({ spiffeId, ...tokenMore });
    const { certificates } = await this.client(() => applicant(keys)).enrol({
      spiffeId,
      token,
      requests: certificateRequests(spiffeId, keys),
    });
    if (!certificates) throw new Error("no certificates");
    return this.member(spiffeId, keys, certificates);
  }

  /** The same authority on the same store, as after a restart of its process. */
  async restart(config: Partial<AuthorityConfig> = {}): Promise<World> {
    await this.authority.stop();
    const { scheduler, store, caKeys } = this;
    return World.open({ scheduler, store, caKeys, config: { domain: this.authority.domain, ...config } });
  }
}

/** A connection that presented a self-signed certificate over the tls key. */
export function applicant(keys: PurposeKeys): Caller {
  return { applicant: true, spki: keys.tls.spki };
}

/** An enrolment request with fresh or given keys. */
export function enrolment(
  name: string,
  keys: PurposeKeys,
  more: MessageInitShape<typeof aca.EnrolRequestSchema> = {},
): aca.EnrolRequest {
  const spiffeId = parseAgentId(name);
  return create(aca.EnrolRequestSchema, { spiffeId, requests: certificateRequests(spiffeId, keys), ...more });
}

/** Complete material. */
export const material = {
  organisation: "Blue Travel Ltd, register 4711",
  developer: "Ada, ada@blue.example",
  functionType: "booking",
  scopes: ["flights"],
};

/** The error code with which a call was refused; fails when it was not. */
export async function codeOf(call: Promise<unknown> | (() => unknown)): Promise<string> {
  try {
    await (typeof call === "function" ? call() : call);
  } catch (thrown) {
    if (!(thrown instanceof ConnectError)) throw thrown;
    const detail = thrown.findDetails(common.ErrorDetailSchema)[0];
    if (!detail) throw thrown;
    return fromErrorDetail(detail).code;
  }
  throw new Error("expected a refusal, got an answer");
}

/** Causes of internal errors, which no wire carries. */
const failLoudly: Log = {
  ...silentLog,
  error: (event, _fields, cause) => process.stderr.write(`${event}: ${inspect(cause)}\n`),
};
