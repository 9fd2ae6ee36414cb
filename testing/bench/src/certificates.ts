import { toBinary } from "@bufbuild/protobuf";
import { asUnixMs } from "@causeway/core-base";
import type { Purpose, Role } from "@causeway/core-identity";
import { createTestDomain, type TestIdentity, trustStateOf } from "@causeway/core-identity/testing";
import { aca } from "@causeway/core-wire";

/** Key and certificates of one identity for another process. */
export interface IdentityMaterial {
  readonly spiffeId: string;
  readonly keys: Readonly<Record<Purpose, string>>;
  /** DER, base64. */
  readonly chains: Readonly<Record<Purpose, readonly string[]>>;
  readonly chainPem: string;
}

/** A certified domain for one run of the bench. P-256 throughout. */
export class BenchDomain {
  readonly name = "bench.example";
  readonly #made = new Map<string, IdentityMaterial>();
  readonly #domain = createTestDomain(this.name, { now: asUnixMs(Date.now()) });

  /** Serialised trust state, base64. */
  trustState(): string {
    return Buffer.from(toBinary(aca.TrustStateSchema, trustStateOf(this.#domain))).toString("base64");
  }

  identity(path: string, role: Role = "agent"): IdentityMaterial {
    const made = this.#made.get(path) ?? materialOf(this.#domain.identity(path, { role }));
    this.#made.set(path, made);
    return made;
  }
}

function materialOf(identity: TestIdentity): IdentityMaterial {
  const each = <T>(value: (purpose: Purpose) => T): Record<Purpose, T> => ({
    tls: value("tls"),
    mls: value("mls"),
    record: value("record"),
  });
  return {
    spiffeId: identity.spiffeId,
    keys: each((purpose) => identity.keys[purpose].pem),
    chains: each((purpose) => identity.chain(purpose).map((der) => Buffer.from(der).toString("base64"))),
    chainPem: identity.tls().chainPem,
  };
}
