/**
 * How a certificate comes to be, in four kinds of steps: request validators judge what is asked, modifiers write the
 * profile, certificate validators judge the profile that they wrote, enforcers have the last word. The way of
 * authorisation (token, operator, renewal, local) chooses the steps; this file only runs them.
 */
import { create } from "@bufbuild/protobuf";
import { type AgentId, asUnixMs, domainOf, refuse } from "@causeway/core-base";
import {
  type CertifiedGateway,
  issueLeaf,
  type LeafProfile,
  purposesOf,
  type Role,
  roleOfName,
} from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { hashHex, toHex } from "./bytes.ts";
import type { AuthorityContext } from "./context.ts";
import { validity } from "./hierarchy.ts";
import type { Check } from "./material.ts";
import { compromiseCode } from "./reasons.ts";
import { type RequestedKey, wirePurposes } from "./requests.ts";

/** What the authorisation allows: the certificate gets exactly these attributes. */
export interface Grant {
  readonly role: Role;
  readonly hosts: readonly string[];
  readonly gateway?: CertifiedGateway;
}

/** Everything that a decision to issue rests on. */
export interface IssuanceRequest {
  readonly spiffeId: AgentId;
  readonly keys: readonly RequestedKey[];
  readonly grant: Grant;
  /** Results of the checks of the material (ANA-63). */
  readonly checks: readonly Check[];
}

/** The steps of one way of authorisation. Each throws to refuse. */
export interface IssuanceSteps {
  readonly requestValidators: readonly ((context: AuthorityContext, request: IssuanceRequest) => void)[];
  readonly modifiers: readonly ((
    context: AuthorityContext,
    profile: LeafProfile,
    request: IssuanceRequest,
  ) => LeafProfile)[];
  readonly certificateValidators: readonly ((
    context: AuthorityContext,
    profile: LeafProfile,
    request: IssuanceRequest,
  ) => void)[];
  readonly enforcers: readonly ((context: AuthorityContext, profile: LeafProfile) => LeafProfile)[];
}

/** Judges a request without issuing. */
export function judge(context: AuthorityContext, request: IssuanceRequest, steps: IssuanceSteps = standardSteps): void {
  for (const validate of steps.requestValidators) validate(context, request);
}

/** Issues one certificate for each key and stores them. Part of the caller's transaction. */
export function issue(
  context: AuthorityContext,
  request: IssuanceRequest,
  steps: IssuanceSteps = standardSteps,
): aca.IssuedCertificate[] {
  judge(context, request, steps);
  return request.keys.map((key) => {
    let profile: LeafProfile = {
      spiffeId: request.spiffeId,
      spki: key.spki,
      purpose: key.purpose,
      role: "agent",
      ...validity(context.now(), context.settings.leafLifetimeMs),
    };
    for (const modify of steps.modifiers) profile = modify(context, profile, request);
    for (const validate of steps.certificateValidators) validate(context, profile, request);
    for (const enforce of steps.enforcers) profile = enforce(context, profile);
    return sign(context, profile);
  });
}

function sign(context: AuthorityContext, profile: LeafProfile): aca.IssuedCertificate {
  const { certificate, serial } = issueLeaf(context.crypto, context.hierarchy.issuer, profile);
  context.store.insertCertificate({
    serial: toHex(serial),
    spiffeId: profile.spiffeId,
    purpose: profile.purpose,
    role: profile.role,
    hosts: profile.hosts ?? [],
    ...(profile.gateway && { gateway: profile.gateway }),
    der: certificate,
    keyFingerprint: hashHex(context.crypto, profile.spki),
    notBeforeUnixMs: profile.notBefore,
    notAfterUnixMs: profile.notAfter,
  });
  const chain = [certificate, context.hierarchy.issuingCertificate];
  return create(aca.IssuedCertificateSchema, { purpose: wirePurposes[profile.purpose], chain });
}

// Request validators

/** Nobody is certified outside the authority's own domain. */
function ownDomain(context: AuthorityContext, request: IssuanceRequest): void {
  const { domain } = context.settings;
  if (domainOf(request.spiffeId) === domain) return;
  throw refuse(
    "CAUSEWAY_IDENTITY_DOMAIN_FOREIGN",
    `this authority certifies names in ${domain}, not ${request.spiffeId}; ask the authority of that domain`,
  );
}

/** `gateway/…`, `registry/…` and so on belong to identities with that role. */
function reservedNames(_context: AuthorityContext, request: IssuanceRequest): void {
  const reserved = roleOfName(request.spiffeId);
  if (reserved === "agent" || reserved === request.grant.role) return;
  throw refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    `names under ${reserved}/ are for the role ${reserved}, not ${request.grant.role}; choose another name`,
  );
}

/** Each role is certified for its own purposes: nobody but an agent gets a leaf for MLS (AAP-80, AAP-98). */
function ownPurposes(_context: AuthorityContext, { spiffeId, keys, grant: { role } }: IssuanceRequest): void {
  const allowed = purposesOf[role];
  const extra = keys.find(({ purpose }) => !allowed.includes(purpose));
  if (extra === undefined) return;
  throw refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    `expected requests for ${allowed.join(" and ")} of ${spiffeId}, whose role is ${role}, got one for ${extra.purpose}; leave it out`,
  );
}

/** Hosts in a request have to be among those that were granted. */
function grantedHosts(_context: AuthorityContext, request: IssuanceRequest): void {
  for (const { hosts } of request.keys) {
    const extra = hosts.find((host) => !request.grant.hosts.includes(host));
    if (extra === undefined) continue;
    throw refuse(
      "CAUSEWAY_IDENTITY_MISMATCH",
      `the request asks for the host ${extra}, which was not granted; ask an operator for a token with it`,
    );
  }
}

/** ANA-63: without the result of each check there is no certificate. */
function checksPassed(_context: AuthorityContext, request: IssuanceRequest): void {
  for (const name of checkNames) {
    if (request.checks.some((check) => check.name === name && check.passed)) continue;
    throw refuse(
      "CAUSEWAY_IDENTITY_MATERIAL_MISSING",
      `the check of ${name} has not passed; every application needs ${checkNames.join(", ")}`,
    );
  }
}

/** A key that was given away may not come back under a new certificate. */
function uncompromisedKeys(context: AuthorityContext, request: IssuanceRequest): void {
  for (const { purpose, spki } of request.keys) {
    if (!context.store.isKeyRevoked(hashHex(context.crypto, spki), compromiseCode)) continue;
    throw refuse("CAUSEWAY_IDENTITY_KEY_REFUSED", `the ${purpose} key was revoked as compromised; make a new key`);
  }
}

// Modifiers

function withGrant(_context: AuthorityContext, profile: LeafProfile, { grant }: IssuanceRequest): LeafProfile {
  return {
    ...profile,
    role: grant.role,
    ...(grant.gateway && { gateway: grant.gateway }),
    ...(profile.purpose === "tls" && grant.hosts.length > 0 && { hosts: grant.hosts }),
  };
}

// Certificate validators

function gatewayAttributes(_context: AuthorityContext, profile: LeafProfile): void {
  if ((profile.role === "gateway") === (profile.gateway !== undefined)) return;
  throw refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    "a gateway and nobody else is certified with gateway attributes; correct the token",
  );
}

// Enforcers

/** No certificate outlives what the configuration allows, whatever a modifier wrote. */
function cappedLifetime(context: AuthorityContext, profile: LeafProfile): LeafProfile {
  const latest = context.now() + context.settings.leafLifetimeMs;
  return profile.notAfter <= latest ? profile : { ...profile, notAfter: asUnixMs(latest) };
}

/** The checks of every application, in order. */
export const checkNames = ["organisation", "key", "scope"] as const;

/** The steps that hold for every certificate, however it was authorised. */
export const standardSteps: IssuanceSteps = {
  requestValidators: [ownDomain, reservedNames, ownPurposes, grantedHosts, checksPassed, uncompromisedKeys],
  modifiers: [withGrant],
  certificateValidators: [gatewayAttributes],
  enforcers: [cappedLifetime],
};
