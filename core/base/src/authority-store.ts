/**
 * The store port of an authority: tokens, applications, certificates, foreign bundles and the audit log. Every decision
 * of an authority is one transaction: what `transaction` wraps is stored as a whole before the answer leaves, or not at
 * all. Types only; names are plain strings here because the store never judges them.
 */

/** State of an application (REQUIREMENTS section 9). */
export type ApplicationState = "requested" | "in review" | "rejected" | "issued";

/** An application for a certificate that an operator decides on. */
export interface StoredApplication {
  readonly id: string;
  readonly spiffeId: string;
  /** Hex SHA-256 of the applicant's TLS key: only the holder of it may poll. */
  readonly keyFingerprint: string;
  /** Serialised EnrolRequest without token. */
  readonly request: Uint8Array;
  /** Hash of the token that it was made with; empty for an open application. */
  readonly tokenHash: string;
  readonly state: ApplicationState;
  readonly atUnixMs: number;
  readonly decidedBy: string;
  readonly reason: string;
  /** Results of the checks of the material, one line each (ANA-63). */
  readonly checks: readonly string[];
  /** Serialised CertificateSet once issued. */
  readonly issued?: Uint8Array;
}

/** A one-time token; only the hash of its secret is stored. */
export interface StoredToken {
  /** Hex SHA-256 of the secret. */
  readonly hash: string;
  /** SPIFFE ID, or prefix ending in '/'. */
  readonly spiffeId: string;
  readonly role: string;
  readonly hosts: readonly string[];
  readonly gateway?: { readonly uri: string; readonly level: number; readonly namespaces: readonly string[] };
  readonly expiresUnixMs: number;
  readonly createdBy: string;
  readonly usedUnixMs?: number;
  readonly usedBy?: string;
}

/** One issued certificate. */
export interface StoredCertificate {
  /** Hex serial number. */
  readonly serial: string;
  readonly spiffeId: string;
  readonly purpose: "tls" | "mls" | "record";
  readonly role: string;
  readonly hosts: readonly string[];
  readonly gateway?: { readonly uri: string; readonly level: number; readonly namespaces: readonly string[] };
  readonly der: Uint8Array;
  /** Hex SHA-256 of the SubjectPublicKeyInfo. */
  readonly keyFingerprint: string;
  readonly notBeforeUnixMs: number;
  readonly notAfterUnixMs: number;
  /** RFC 5280 reason code; undefined while good. 6 (certificateHold) can be taken back. */
  readonly revokedReason?: number;
  readonly revokedUnixMs?: number;
}

/** A line of the audit log. */
export interface AuditEntry {
  readonly atUnixMs: number;
  /** `enrolment.issued`, `certificate.revoked`, … */
  readonly action: string;
  /** SPIFFE ID or key fingerprint of who did it. */
  readonly actor: string;
  readonly subject: string;
  readonly facts: string;
}

/** The single values of the authority: certificates and CRLs as DER, numbers as decimal text. */
export type AuthorityDocument =
  | "root.der"
  | "issuing.der"
  | "issuing-expires"
  | "root.crl"
  | "issuing.crl"
  | "crl-made"
  | "crl-lifetime"
  | "crl-number"
  | "trust-sequence";

/** Another domain whose certificates are accepted (ANA-9). */
export interface StoredBundle {
  readonly domain: string;
  /** Serialised TrustBundle. */
  readonly bundle: Uint8Array;
}

/** What the authority keeps. All calls are synchronous; inside `transaction` they are atomic and durable on return. */
export interface AuthorityStore {
  transaction<T>(body: () => T): T;

  document(name: AuthorityDocument): Uint8Array | undefined;
  putDocument(name: AuthorityDocument, value: Uint8Array): void;

  insertToken(token: StoredToken): void;
  token(hash: string): StoredToken | undefined;
  /** Marks an unused token as used; false when it was used before. */
  consumeToken(hash: string, atUnixMs: number, by: string): boolean;
  /** How many were removed. */
  deleteTokensExpiredBefore(unixMs: number): number;

  insertApplication(application: StoredApplication): void;
  updateApplication(application: StoredApplication): void;
  application(id: string): StoredApplication | undefined;
  applications(state: string, limit: number): readonly StoredApplication[];
  countApplications(state: string): number;
  /** Removes applications of this state that are older; how many. */
  deleteApplicationsBefore(state: ApplicationState, unixMs: number): number;

  insertCertificate(certificate: StoredCertificate): void;
  certificate(serial: string): StoredCertificate | undefined;
  /** Newest first; every identity when `spiffeId` is empty. */
  certificates(spiffeId: string, limit: number): readonly StoredCertificate[];
  /** True when a certificate over this key was revoked with this reason code. */
  isKeyRevoked(keyFingerprint: string, reason: number): boolean;
  /** Sets or (with `undefined`) clears the revocation of a certificate. */
  setRevocation(serial: string, revocation: { readonly reason: number; readonly atUnixMs: number } | undefined): void;
  /** Revoked certificates that have not expired before `unixMs`, oldest first. */
  revokedCertificates(unixMs: number): readonly StoredCertificate[];
  deleteCertificatesExpiredBefore(unixMs: number): number;

  putBundle(bundle: StoredBundle): void;
  deleteBundle(domain: string): boolean;
  bundles(): readonly StoredBundle[];

  /** Everything that is stored, archives included. */
  counts(): { readonly certificates: number; readonly tokens: number };

  appendAudit(entry: AuditEntry): void;
  /** Newest first. */
  audit(limit: number): readonly AuditEntry[];

  close(): void;
}
