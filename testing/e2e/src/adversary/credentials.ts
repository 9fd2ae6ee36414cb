/** Certificates that somebody could come with: rightly enrolled ones, and ones that nobody should accept. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import {
  generateKeyPair,
  type Identity,
  type IdentityKeeper,
  type KeyPair,
  loadIdentity,
  nodeCrypto,
  openIdentityKeeper,
  openKeyVault,
  type TlsIdentity,
} from "@causeway/adapter-keys";
import { connectAuthority, fetchRoot } from "@causeway/agent/transports";
import { asUnixMs, parseAgentId, parseGatewayUri } from "@causeway/core-base";
import { encodePem, type Issuer, issueLeaf, type LeafProfile, type Signer } from "@causeway/core-identity";
import type { World } from "../world.ts";

type DomainConfig = World["network"]["configs"][number];

/** The configuration of the domain of `name`. */
export function configOf(world: World, name: string): DomainConfig {
  const config = world.network.configs.find((each) => name.startsWith(`${each.domain}/`));
  if (config === undefined) throw new Error(`no domain for ${name}`);
  return config;
}

/** How somebody enrols. */
export interface EnrolOptions {
  readonly gateway?: { readonly uri: string; readonly level: 1 | 2; readonly namespaces?: readonly string[] };
  /** Default: one that the domain's operator makes for exactly this. */
  readonly token?: string;
  /** Where the identity is kept; default one of its own. */
  readonly folder?: string;
}

/** Enrols by a one-time token; the keeper follows trust until it is stopped. */
export async function enrol(world: World, name: string, options: EnrolOptions = {}): Promise<IdentityKeeper> {
  const spiffeId = parseAgentId(name);
  const { token = await tokenFor(world, name, options), folder = name } = options;
  return await openIdentityKeeper({
    vault: await openKeyVault({
      directory: join(world.home.directory, "culprits", folder),
      masterKeyFile: world.home.masterKeyFile,
    }),
    connect: connectAuthority,
    fetchRoot,
    enrolment: { token, spiffeId },
    scheduler: createScheduler(),
    random: systemRandom,
  });
}

async function tokenFor(world: World, name: string, { gateway }: EnrolOptions): Promise<string> {
  const operator = world.network.operators.find((each) => each.config === configOf(world, name));
  if (operator === undefined) throw new Error(`no operator for ${name}`);
  const { token } = await operator.authority.createToken({
    spiffeId: parseAgentId(name),
    role: gateway === undefined ? "agent" : "gateway",
    ...(gateway && {
      gateway: { gatewayUri: gateway.uri, level: gateway.level, namespaces: [...(gateway.namespaces ?? [])] },
    }),
  });
  return token;
}

/** The identity of a service or an operator of the domain, from the folder where its process keeps it. */
export async function identityIn(config: DomainConfig, ...folder: readonly string[]): Promise<Identity> {
  const vault = await openKeyVault({
    directory: join(config.dataDir, ...folder),
    masterKeyFile: config.masterKeyFile,
    create: false,
  });
  const identity = await loadIdentity(vault);
  if (identity === undefined) throw new Error(`no identity in ${vault.directory}`);
  return identity;
}

/** A TLS identity made for a test, with the signer of the same key. */
export interface Forged {
  readonly tls: TlsIdentity;
  readonly signer: Signer;
}

/** Issues with the real key of a domain's authority, taken from its vault: what only a broken authority would issue. */
export class Forger {
  readonly #issuer: Issuer;

  private constructor(issuer: Issuer) {
    this.#issuer = issuer;
  }

  /** `issued`: any identity of the domain; its chain has the issuing certificate. */
  static async open(world: World, issued: Identity): Promise<Forger> {
    const config = configOf(world, `${issued.domain}/`);
    const vault = await openKeyVault({
      directory: join(config.dataDir, "authority", "ca"),
      masterKeyFile: config.masterKeyFile,
    });
    const key = await vault.getKey("issuing");
    const certificate = issued.signer("tls").chain[1];
    if (key === undefined || certificate === undefined) throw new Error("the authority has no issuing key");
    return new Forger({ certificate, key });
  }

  /** A leaf of any content; valid from a minute ago for an hour unless told otherwise. */
  issue(name: string, more: Partial<Omit<LeafProfile, "spki" | "spiffeId">> = {}): Forged {
    const purpose = more.purpose ?? "tls";
    const key = generateKeyPair(purpose === "tls" ? "p256" : "ed25519");
    const { certificate } = issueLeaf(nodeCrypto, this.#issuer, {
      role: "agent",
      notBefore: asUnixMs(Date.now() - 60_000),
      notAfter: asUnixMs(Date.now() + 3_600_000),
      ...more,
      purpose,
      spki: key.spki,
      spiffeId: parseAgentId(name),
    });
    return forged(key, [certificate, this.#issuer.certificate]);
  }

  gateway(name: string, uri: string, level: 1 | 2, more: Partial<LeafProfile> = {}): Forged {
    return this.issue(name, {
      ...more,
      role: "gateway",
      gateway: { uri: parseGatewayUri(uri), level, namespaces: [] },
    });
  }
}

function forged(key: KeyPair, chain: readonly Uint8Array[]): Forged {
  return {
    tls: { key: key.exportPem(), chainPem: encodePem("CERTIFICATE", ...chain) },
    signer: { chain, spki: key.spki, sign: (message) => key.sign(message) },
  };
}

/** A certificate that names itself and is vouched for by nobody, made by a program that is not ours. */
export function selfSigned(name: string): TlsIdentity {
  const folder = mkdtempSync(join(tmpdir(), "causeway-self-signed-"));
  try {
    const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
    const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
    const names = ["-subj", "/CN=self", "-addext", `subjectAltName=URI:spiffe://${name}`];
    execFileSync("openssl", [...request, ...names, "-keyout", key, "-out", certificate], { stdio: "pipe" });
    return { key: readFileSync(key, "utf8"), chainPem: readFileSync(certificate, "utf8") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
