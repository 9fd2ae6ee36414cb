/**
 * Getting a first certificate: with a join token at once, or by an application on which an operator decides. Keys are
 * stored before anything is sent, and the same request is sent again after a crash or a lost answer: the authority gives
 * the same applicant the same answer, so that a token is never used up for nothing.
 */
import { create } from "@bufbuild/protobuf";
import {
  type AgentId,
  type CausewayError,
  defaults,
  type Log,
  parseAgentId,
  type Random,
  refuse,
  type Scheduler,
} from "@causeway/core-base";
import {
  type CryptoPort,
  type Purpose,
  parseJoinToken,
  pinnedTrust,
  purposes,
  purposesOf,
  roleOfName,
  TrustStore,
} from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { type Client, createClient } from "@connectrpc/connect";
import { applicantIdentity } from "./applicant.ts";
import { type Identity, identityOf, saveIdentity, saveTrust } from "./identity.ts";
import { generateKeyPair, type KeyPair, keyTypeOf } from "./key-pair.ts";
import type { KeyVault } from "./key-vault.ts";
import { type ConnectAuthority, callErrorOf, type FetchRoot } from "./network.ts";
import { certificateRequests, forPurposes, type PurposeKeys } from "./purpose-keys.ts";
import { Backoff, wait } from "./wait.ts";

/** Supporting material (ANA-57 to ANA-60). */
export interface EnrolmentMaterial {
  readonly organisation: string;
  readonly developer: string;
  readonly functionType: string;
  readonly scopes: readonly string[];
}

/** How to get an identity when there is none on disk. */
export type Enrolment =
  | {
      /** One string from the operator: authority, fingerprint of its root, secret. */
      readonly token: string;
      readonly spiffeId: string;
      readonly material?: EnrolmentMaterial;
    }
  | {
      /** Open application: an operator decides, the applicant polls. */
      readonly authorityUrl: string;
      /** Hex SHA-256 of the authority's root certificate. */
      readonly rootFingerprint: string;
      readonly spiffeId: string;
      readonly material: EnrolmentMaterial;
    };

/** What `enrol` needs. */
export interface EnrolOptions {
  readonly vault: KeyVault;
  readonly enrolment: Enrolment;
  readonly connect: ConnectAuthority;
  readonly fetchRoot: FetchRoot;
  readonly crypto: CryptoPort;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: Log;
  /** Distance of polls of an open application. */
  readonly pollMs: number;
  /** Called when an operator has to decide. */
  readonly onPending?: (applicationId: string) => void;
  /** An identity that this one takes the place of: its keys are not used again. */
  readonly replaced?: Identity;
  /** The keys of a lapsed identity, which the authority certifies again. Default: fresh ones. */
  readonly keys?: PurposeKeys;
  readonly signal: AbortSignal;
}

/** A certified identity and what it trusts. */
export interface Enrolled {
  readonly identity: Identity;
  readonly trust: aca.TrustState;
}

/** Enrols and stores the result. Waits for the operator's decision when there is no token. */
export async function enrol(options: EnrolOptions): Promise<Enrolled> {
  const { vault, enrolment, connect, fetchRoot, crypto, scheduler, signal } = options;
  const spiffeId = parseAgentId(enrolment.spiffeId);
  const token = "token" in enrolment ? parseJoinToken(enrolment.token) : undefined;
  const { url, fingerprint } =
    "token" in enrolment
      ? authorityOf(enrolment.token)
      : { url: enrolment.authorityUrl, fingerprint: enrolment.rootFingerprint };
  const keys = options.keys ?? (await pendingKeys(vault, spiffeId, options.replaced));
  const applicant = applicantIdentity(crypto, keys.tls, scheduler.now().unix);
  const root = await fetchRoot({ url, fingerprint, identity: applicant, signal });
  if (Buffer.from(crypto.sha256(root)).toString("hex") !== fingerprint.toLowerCase()) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
      `expected the root ${fingerprint.slice(0, 16)}… at ${url}, got another one; check the token with the operator of the domain`,
    );
  }
  const transport = connect({
    url,
    identity: () => applicantIdentity(crypto, keys.tls, scheduler.now().unix),
    trust: pinnedTrust(crypto, root),
    expect: { roles: ["authority"] },
  });
  try {
    const client = createClient(aca.AuthorityService, transport);
    const request = create(aca.EnrolRequestSchema, {
      spiffeId,
      requests: certificateRequests(spiffeId, keys),
      token: token?.secret ?? "",
      ...(enrolment.material && { material: materialOf(enrolment.material) }),
    });
    const certificates = await requestCertificates(options, client, request);
    return await accept(options, { spiffeId, url, root, keys, certificates });
  } finally {
    transport.close?.();
  }
}

/** Sends the request until there is an answer, then polls while an operator has to decide. */
async function requestCertificates(
  options: EnrolOptions,
  client: Client<typeof aca.AuthorityService>,
  request: aca.EnrolRequest,
): Promise<aca.CertificateSet> {
  const answer = await retried(options, () => client.enrol(request, { signal: options.signal }));
  if (answer.certificates) return answer.certificates;
  const { applicationId } = answer;
  options.log.info("enrolment.pending", { applicationId, spiffeId: request.spiffeId });
  options.onPending?.(applicationId);
  for (;;) {
    await wait(options.scheduler, options.pollMs, options.signal);
    const poll = await retried(options, () => client.pollEnrolment({ applicationId }, { signal: options.signal }));
    if (poll.certificates) return poll.certificates;
    if (poll.state === "rejected") {
      throw refuse(
        "CAUSEWAY_IDENTITY_APPLICATION_REJECTED",
        `an operator rejected the application: ${poll.reason || "no reason given"}`,
      );
    }
  }
}

async function retried<T>(options: EnrolOptions, call: () => Promise<T>): Promise<T> {
  const backoff = new Backoff(options.random, defaults.reconnectMsMin, defaults.reconnectMsMax);
  for (;;) {
    try {
      return await call();
    } catch (thrown) {
      const error: CausewayError = callErrorOf(thrown);
      if (!error.retryable || options.signal.aborted) throw error;
      const ms = Math.max(error.retryAfterMs, backoff.pause());
      options.log.warn("enrolment.retried", { code: error.code, afterMs: Math.round(ms) });
      await wait(options.scheduler, ms, options.signal);
    }
  }
}

/** Checks the answer against the pinned root before anything of it is kept. */
async function accept(
  options: EnrolOptions,
  answer: {
    readonly spiffeId: AgentId;
    readonly url: string;
    readonly root: Uint8Array;
    readonly keys: PurposeKeys;
    readonly certificates: aca.CertificateSet;
  },
): Promise<Enrolled> {
  const { spiffeId, url, root, keys, certificates } = answer;
  const trust = certificates.trust;
  const own = trust?.bundles[0];
  if (!trust || !own?.roots.some((der) => Buffer.from(der).equals(root))) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
      "expected a trust state that begins with the root of the token, got another one",
    );
  }
  const identity = identityOf({ spiffeId, authorityUrl: url, keys, certificates });
  const store = new TrustStore(options.crypto);
  store.replace(trust);
  for (const purpose of identity.purposes) {
    const peer = store.verifyChain(identity.signer(purpose).chain, { now: options.scheduler.now().unix, purpose });
    if (peer.spiffeId !== spiffeId) {
      throw refuse("CAUSEWAY_IDENTITY_MISMATCH", `expected certificates for ${spiffeId}, got one for ${peer.spiffeId}`);
    }
  }
  await saveTrust(options.vault, trust);
  await saveIdentity(options.vault, identity);
  for (const purpose of purposes) await options.vault.delete(pendingName(purpose));
  options.log.info("enrolment.completed", { spiffeId });
  return { identity, trust };
}

/** The keys of an enrolment in progress, for the purposes of the role that the name has; kept until its answer has come. */
async function pendingKeys(vault: KeyVault, spiffeId: AgentId, replaced: Identity | undefined): Promise<PurposeKeys> {
  const wanted = purposesOf[roleOfName(spiffeId)];
  const keys = new Map<Purpose, KeyPair>();
  for (const purpose of wanted) {
    const known = await vault.getKey(pendingName(purpose));
    const old = replaced?.keys()[purpose];
    const isKept = known !== undefined && !(old && known.hasSameKey(old));
    const key = isKept ? known : generateKeyPair(keyTypeOf[purpose]);
    if (!isKept) await vault.putKey(pendingName(purpose), key);
    keys.set(purpose, key);
  }
  return forPurposes(wanted, (purpose) => keys.get(purpose) as KeyPair);
}

function authorityOf(token: string): { readonly url: string; readonly fingerprint: string } {
  const { url, rootFingerprint } = parseJoinToken(token);
  return { url, fingerprint: rootFingerprint };
}

function materialOf(material: EnrolmentMaterial): aca.Material {
  return create(aca.MaterialSchema, { ...material, scopes: [...material.scopes] });
}

const pendingName = (purpose: string): string => `pending-${purpose}`;
