/** The keys of an identity: one for each purpose that its role has, and the requests to certify them. */
import { create } from "@bufbuild/protobuf";
import type { AgentId } from "@causeway/core-base";
import { createCsr, type Purpose, purposes, purposesOf, type Role } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { generateKeyPair, type KeyPair, keyTypeOf } from "./key-pair.ts";

/** The keys of an identity, one for each purpose of its role (AGP-30). */
export type PurposeKeys = ForPurposes<KeyPair>;
/** The keys of an agent, which has every purpose. */
type AgentKeys = Readonly<Record<Purpose, KeyPair>>;
/** The chains of an identity: DER, leaf first, root left out. */
export type PurposeChains = ForPurposes<readonly Uint8Array[]>;

/** Every role has connections; the other purposes are those of its role. */
type ForPurposes<T> = Readonly<Record<"tls", T> & Partial<Record<Purpose, T>>>;

/** Fresh keys for the purposes of a role, made in this process (ANA-62). */
export function generatePurposeKeys(role?: "agent"): AgentKeys;
export function generatePurposeKeys(role: Role): PurposeKeys;
export function generatePurposeKeys(role: Role = "agent"): PurposeKeys {
  return forPurposes(purposesOf[role], (purpose) => generateKeyPair(keyTypeOf[purpose]));
}

/** The CSRs for `keys`, each signed by its own key (ANA-61). */
export function certificateRequests(spiffeId: AgentId, keys: PurposeKeys): aca.CertificateRequest[] {
  return entriesOf(keys).map(([purpose, key]) =>
    create(aca.CertificateRequestSchema, { purpose: wirePurpose[purpose], csr: createCsr(key, { spiffeId }) }),
  );
}

/** The purposes that have a value, each with it, in their documented order. */
export function entriesOf<T>(values: ForPurposes<T>): readonly (readonly [Purpose, T])[] {
  return purposes.flatMap((purpose) => {
    const value = values[purpose];
    return value === undefined ? [] : [[purpose, value] as const];
  });
}

/** A value for each of these purposes and for tls. */
export function forPurposes<T>(wanted: readonly Purpose[], valueOf: (purpose: Purpose) => T): ForPurposes<T> {
  const others = wanted.filter((purpose) => purpose !== "tls").map((purpose) => [purpose, valueOf(purpose)]);
  return { tls: valueOf("tls"), ...(Object.fromEntries(others) as Partial<Record<Purpose, T>>) };
}

/** The wire's name of a purpose. */
export const wirePurpose: Readonly<Record<Purpose, aca.KeyPurpose>> = {
  tls: aca.KeyPurpose.TLS,
  mls: aca.KeyPurpose.MLS,
  record: aca.KeyPurpose.RECORD,
};
