/**
 * `AuthorityStore` on SQLite. What is searched for is a column; what is only kept (requests, certificates, bundles) is
 * bytes.
 */
import type {
  ApplicationState,
  AuditEntry,
  AuthorityDocument,
  AuthorityStore,
  StoredApplication,
  StoredBundle,
  StoredCertificate,
  StoredToken,
} from "@causeway/core-base";
import { refuse } from "@causeway/core-base";
import { Database, type Row, type Value } from "./database.ts";

const migrations: readonly string[] = [
  `
  CREATE TABLE document (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
  CREATE TABLE token (
    hash TEXT PRIMARY KEY, spiffe_id TEXT NOT NULL, role TEXT NOT NULL, hosts TEXT NOT NULL, gateway TEXT,
    expires INTEGER NOT NULL, created_by TEXT NOT NULL, used INTEGER, used_by TEXT) STRICT;
  CREATE INDEX token_expires ON token (expires);
  CREATE TABLE application (
    id TEXT PRIMARY KEY, spiffe_id TEXT NOT NULL, key_fingerprint TEXT NOT NULL, request BLOB NOT NULL,
    token_hash TEXT NOT NULL, state TEXT NOT NULL, at INTEGER NOT NULL, decided_by TEXT NOT NULL, reason TEXT NOT NULL,
    checks TEXT NOT NULL, issued BLOB) STRICT;
  CREATE INDEX application_state ON application (state, at);
  CREATE TABLE certificate (
    id INTEGER PRIMARY KEY AUTOINCREMENT, serial TEXT NOT NULL UNIQUE, spiffe_id TEXT NOT NULL, purpose TEXT NOT NULL,
    role TEXT NOT NULL, hosts TEXT NOT NULL, gateway TEXT, der BLOB NOT NULL, key_fingerprint TEXT NOT NULL,
    not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, revoked_reason INTEGER, revoked INTEGER) STRICT;
  CREATE INDEX certificate_identity ON certificate (spiffe_id, id);
  CREATE INDEX certificate_expiry ON certificate (not_after);
  CREATE INDEX certificate_revoked ON certificate (not_after) WHERE revoked_reason IS NOT NULL;
  CREATE INDEX certificate_key ON certificate (key_fingerprint) WHERE revoked_reason IS NOT NULL;
  CREATE TABLE bundle (domain TEXT PRIMARY KEY, bundle BLOB NOT NULL) STRICT;
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, action TEXT NOT NULL, actor TEXT NOT NULL,
    subject TEXT NOT NULL, facts TEXT NOT NULL) STRICT;
  `,
];

/** How an authority's store is opened. */
export interface AuthorityStoreOptions {
  /** File path, or ":memory:". */
  readonly path: string;
  /** Largest size in pages of 4 KiB. Default: SQLite's own limit. */
  readonly pagesMax?: number;
}

/** Opens or creates the store of one authority. Throws `CAUSEWAY_STORE_FAILED` for a file that is damaged or not one. */
export function openAuthorityStore(options: AuthorityStoreOptions): AuthorityStore {
  const { path, pagesMax } = options;
  const database = new Database({
    path,
    kind: "authority store",
    applicationId: 0x43574143,
    migrations,
    ...(pagesMax !== undefined && { pagesMax }),
  });
  try {
    return new SqliteAuthorityStore(database);
  } catch (error) {
    database.close();
    throw error;
  }
}

function prepare(db: Database) {
  return {
    document: db.prepare("SELECT value FROM document WHERE name = ?"),
    putDocument: db.prepare(
      "INSERT INTO document (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    ),
    insertToken: db.prepare(
      "INSERT INTO token (hash, spiffe_id, role, hosts, gateway, expires, created_by) VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    token: db.prepare("SELECT * FROM token WHERE hash = ?"),
    consumeToken: db.prepare("UPDATE token SET used = ?, used_by = ? WHERE hash = ? AND used IS NULL"),
    deleteTokens: db.prepare("DELETE FROM token WHERE expires < ?"),
    insertApplication: db.prepare("INSERT INTO application VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    updateApplication: db.prepare("INSERT OR REPLACE INTO application VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    application: db.prepare("SELECT * FROM application WHERE id = ?"),
    applications: db.prepare("SELECT * FROM application WHERE ?1 = '' OR state = ?1 ORDER BY at, id LIMIT ?2"),
    countCertificates: db.prepare("SELECT count(*) AS n FROM certificate"),
    countTokens: db.prepare("SELECT count(*) AS n FROM token"),
    countApplications: db.prepare("SELECT count(*) AS n FROM application WHERE state = ?"),
    deleteApplications: db.prepare("DELETE FROM application WHERE state = ? AND at < ?"),
    insertCertificate: db.prepare(
      `INSERT INTO certificate (serial, spiffe_id, purpose, role, hosts, gateway, der, key_fingerprint, not_before, not_after,
        revoked_reason, revoked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    certificate: db.prepare("SELECT * FROM certificate WHERE serial = ?"),
    allCertificates: db.prepare("SELECT * FROM certificate ORDER BY id DESC LIMIT ?"),
    certificates: db.prepare("SELECT * FROM certificate WHERE spiffe_id = ? ORDER BY id DESC LIMIT ?"),
    isKeyRevoked: db.prepare(
      "SELECT 1 AS found FROM certificate WHERE key_fingerprint = ? AND revoked_reason IS NOT NULL AND revoked_reason = ? LIMIT 1",
    ),
    setRevocation: db.prepare("UPDATE certificate SET revoked_reason = ?, revoked = ? WHERE serial = ?"),
    revoked: db.prepare("SELECT * FROM certificate WHERE revoked_reason IS NOT NULL AND not_after >= ? ORDER BY id"),
    deleteCertificates: db.prepare("DELETE FROM certificate WHERE not_after < ?"),
    putBundle: db.prepare(
      "INSERT INTO bundle (domain, bundle) VALUES (?, ?) ON CONFLICT (domain) DO UPDATE SET bundle = excluded.bundle",
    ),
    deleteBundle: db.prepare("DELETE FROM bundle WHERE domain = ?"),
    bundles: db.prepare("SELECT * FROM bundle ORDER BY domain"),
    appendAudit: db.prepare("INSERT INTO audit (at, action, actor, subject, facts) VALUES (?, ?, ?, ?, ?)"),
    audit: db.prepare("SELECT * FROM audit ORDER BY id DESC LIMIT ?"),
  };
}

class SqliteAuthorityStore implements AuthorityStore {
  readonly #database: Database;
  readonly #sql: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#database = database;
    this.#sql = prepare(database);
  }

  transaction<T>(body: () => T): T {
    return this.#database.atomically(body);
  }

  document(name: AuthorityDocument): Uint8Array | undefined {
    const row = this.#sql.document.get(name);
    return row && bytes(row["value"]);
  }

  putDocument(name: AuthorityDocument, value: Uint8Array): void {
    this.#sql.putDocument.run(name, value);
  }

  insertToken(token: StoredToken): void {
    const { hash, spiffeId, role, hosts, gateway, expiresUnixMs, createdBy } = token;
    this.#sql.insertToken.run(hash, spiffeId, role, JSON.stringify(hosts), json(gateway), expiresUnixMs, createdBy);
  }

  token(hash: string): StoredToken | undefined {
    const row = this.#sql.token.get(hash);
    if (!row) return undefined;
    return {
      hash,
      spiffeId: text(row["spiffe_id"]),
      role: text(row["role"]),
      ...attributes(row),
      expiresUnixMs: number(row["expires"]),
      createdBy: text(row["created_by"]),
      ...(row["used"] !== null && { usedUnixMs: number(row["used"]), usedBy: text(row["used_by"]) }),
    };
  }

  consumeToken(hash: string, atUnixMs: number, by: string): boolean {
    return this.#sql.consumeToken.run(atUnixMs, by, hash) === 1;
  }

  deleteTokensExpiredBefore(unixMs: number): number {
    return this.#sql.deleteTokens.run(unixMs);
  }

  insertApplication(application: StoredApplication): void {
    this.#sql.insertApplication.run(...applicationValues(application));
  }

  updateApplication(application: StoredApplication): void {
    this.#sql.updateApplication.run(...applicationValues(application));
  }

  application(id: string): StoredApplication | undefined {
    const row = this.#sql.application.get(id);
    return row && applicationOf(row);
  }

  applications(state: string, limit: number): readonly StoredApplication[] {
    return this.#sql.applications.all(state, limit).map(applicationOf);
  }

  counts(): { readonly certificates: number; readonly tokens: number } {
    return {
      certificates: number(this.#sql.countCertificates.get()?.["n"]),
      tokens: number(this.#sql.countTokens.get()?.["n"]),
    };
  }

  countApplications(state: string): number {
    return number(this.#sql.countApplications.get(state)?.["n"]);
  }

  deleteApplicationsBefore(state: ApplicationState, unixMs: number): number {
    return this.#sql.deleteApplications.run(state, unixMs);
  }

  insertCertificate(c: StoredCertificate): void {
    this.#sql.insertCertificate.run(
      c.serial,
      c.spiffeId,
      c.purpose,
      c.role,
      JSON.stringify(c.hosts),
      json(c.gateway),
      c.der,
      c.keyFingerprint,
      c.notBeforeUnixMs,
      c.notAfterUnixMs,
      c.revokedReason ?? null,
      c.revokedUnixMs ?? null,
    );
  }

  certificate(serial: string): StoredCertificate | undefined {
    const row = this.#sql.certificate.get(serial);
    return row && certificateOf(row);
  }

  certificates(spiffeId: string, limit: number): readonly StoredCertificate[] {
    const rows = spiffeId === "" ? this.#sql.allCertificates.all(limit) : this.#sql.certificates.all(spiffeId, limit);
    return rows.map(certificateOf);
  }

  isKeyRevoked(keyFingerprint: string, reason: number): boolean {
    return this.#sql.isKeyRevoked.get(keyFingerprint, reason) !== undefined;
  }

  setRevocation(serial: string, revocation: { readonly reason: number; readonly atUnixMs: number } | undefined): void {
    this.#sql.setRevocation.run(revocation?.reason ?? null, revocation?.atUnixMs ?? null, serial);
  }

  revokedCertificates(unixMs: number): readonly StoredCertificate[] {
    return this.#sql.revoked.all(unixMs).map(certificateOf);
  }

  deleteCertificatesExpiredBefore(unixMs: number): number {
    return this.#sql.deleteCertificates.run(unixMs);
  }

  putBundle(bundle: StoredBundle): void {
    this.#sql.putBundle.run(bundle.domain, bundle.bundle);
  }

  deleteBundle(domain: string): boolean {
    return this.#sql.deleteBundle.run(domain) === 1;
  }

  bundles(): readonly StoredBundle[] {
    return this.#sql.bundles.all().map((row) => ({ domain: text(row["domain"]), bundle: bytes(row["bundle"]) }));
  }

  appendAudit(entry: AuditEntry): void {
    this.#sql.appendAudit.run(entry.atUnixMs, entry.action, entry.actor, entry.subject, entry.facts);
  }

  audit(limit: number): readonly AuditEntry[] {
    return this.#sql.audit.all(limit).map((row) => ({
      atUnixMs: number(row["at"]),
      action: text(row["action"]),
      actor: text(row["actor"]),
      subject: text(row["subject"]),
      facts: text(row["facts"]),
    }));
  }

  close(): void {
    this.#database.close();
  }
}

function applicationValues(a: StoredApplication): Value[] {
  const checks = JSON.stringify(a.checks);
  return [
    a.id,
    a.spiffeId,
    a.keyFingerprint,
    a.request,
    a.tokenHash,
    a.state,
    a.atUnixMs,
    a.decidedBy,
    a.reason,
    checks,
    a.issued ?? null,
  ];
}

function applicationOf(row: Row): StoredApplication {
  const issued = row["issued"];
  return {
    id: text(row["id"]),
    spiffeId: text(row["spiffe_id"]),
    keyFingerprint: text(row["key_fingerprint"]),
    request: bytes(row["request"]),
    tokenHash: text(row["token_hash"]),
    state: stateOf(text(row["state"])),
    atUnixMs: number(row["at"]),
    decidedBy: text(row["decided_by"]),
    reason: text(row["reason"]),
    checks: JSON.parse(text(row["checks"])) as string[],
    ...(issued instanceof Uint8Array && { issued }),
  };
}

function certificateOf(row: Row): StoredCertificate {
  return {
    serial: text(row["serial"]),
    spiffeId: text(row["spiffe_id"]),
    purpose: purposeOf(text(row["purpose"])),
    role: text(row["role"]),
    ...attributes(row),
    der: bytes(row["der"]),
    keyFingerprint: text(row["key_fingerprint"]),
    notBeforeUnixMs: number(row["not_before"]),
    notAfterUnixMs: number(row["not_after"]),
    ...(row["revoked_reason"] !== null && {
      revokedReason: number(row["revoked_reason"]),
      revokedUnixMs: number(row["revoked"]),
    }),
  };
}

/** Hosts and gateway attributes, which this file wrote as JSON itself. */
function attributes(row: Row): Pick<StoredToken, "hosts" | "gateway"> {
  const gateway = row["gateway"];
  return {
    hosts: JSON.parse(text(row["hosts"])) as string[],
    ...(typeof gateway === "string" && { gateway: JSON.parse(gateway) as NonNullable<StoredToken["gateway"]> }),
  };
}

function stateOf(value: string): ApplicationState {
  if (value === "requested" || value === "in review" || value === "rejected" || value === "issued") return value;
  throw unexpected(value);
}

function purposeOf(value: string): StoredCertificate["purpose"] {
  if (value === "tls" || value === "mls" || value === "record") return value;
  throw unexpected(value);
}

const json = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value));

function text(value: Value | undefined): string {
  if (typeof value === "string") return value;
  throw unexpected(value);
}

function number(value: Value | undefined): number {
  if (typeof value === "bigint" || typeof value === "number") return Number(value);
  throw unexpected(value);
}

function bytes(value: Value | undefined): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw unexpected(value);
}

function unexpected(value: unknown): Error {
  return refuse(
    "CAUSEWAY_STORE_FAILED",
    `the authority store holds a value of an unexpected kind (${typeof value}); restore it from a copy`,
  );
}
