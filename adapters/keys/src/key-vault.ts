/**
 * Secrets on disk. Each file is sealed with AES-256-GCM under a key that scrypt derives from the master key; the file's
 * name is authenticated, so a sealed file that is renamed or swapped does not open.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scrypt } from "node:crypto";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { refuse } from "@causeway/core-base";
import {
  createFileAtomic,
  isTemporary,
  makePrivateDirectory,
  named,
  readFileIfAny,
  writeFileAtomic,
} from "./atomic-file.ts";
import { generateKeyPair, importKeyPair, type KeyPair, type KeyType } from "./key-pair.ts";
import { readMasterKey } from "./master-key.ts";

/** Where a vault lives and what opens it. */
export interface KeyVaultOptions {
  /** Directory of the sealed files, made with mode 0700. */
  readonly directory: string;
  /** File with the master key, outside `directory`. Made with mode 0600 on first use unless `create` is false. */
  readonly masterKeyFile: string;
  /** Default true. False refuses when the master key file does not exist. */
  readonly create?: boolean;
}

/** Private keys and other secrets on disk, each sealed under a master key that lies elsewhere (AGP-44). */
export interface KeyVault {
  readonly directory: string;
  /** Writes a secret atomically, mode 0600. `name`: letters, digits, '.', '-', '_'. */
  put(name: string, secret: Uint8Array): Promise<void>;
  /** The secret, or undefined when there is none of this name. Throws `CAUSEWAY_KEYS_FILE_TAMPERED`. */
  get(name: string): Promise<Uint8Array | undefined>;
  delete(name: string): Promise<void>;
  names(): Promise<readonly string[]>;
  putKey(name: string, key: KeyPair): Promise<void>;
  getKey(name: string): Promise<KeyPair | undefined>;
  /** The key of this name; generated and stored when there is none. */
  keyOrCreate(name: string, type: KeyType): Promise<KeyPair>;
  /** A 32-byte key for encryption at rest elsewhere, derived from the master key and a label. */
  deriveKey(label: string): Uint8Array;
}

/**
 * Opens a vault, making directory and master key on first use. Throws `CAUSEWAY_KEYS_MASTER_UNSAFE` when others may read
 * the master key file, `CAUSEWAY_KEYS_MASTER_MISSING` when the vault exists and the file does not, and
 * `CAUSEWAY_KEYS_MASTER_WRONG` when it is another vault's.
 */
export async function openKeyVault(options: KeyVaultOptions): Promise<KeyVault> {
  const { directory, masterKeyFile } = options;
  await makePrivateDirectory(directory);
  await removeTemporaries(directory);
  const existing = await readHeader(directory);
  const master = await readMasterKey({
    file: masterKeyFile,
    directory,
    create: existing === undefined && options.create !== false,
  });
  const header = existing ?? (await writeHeader(directory, master));
  const root = await stretch(master, header);
  const check = unseal(subkey(root, "check"), "check", header.check);
  if (!check) {
    throw refuse(
      "CAUSEWAY_KEYS_MASTER_WRONG",
      `the key in ${masterKeyFile} is not the one that sealed ${directory}; name the file that was made with this directory`,
    );
  }
  return new FileKeyVault(directory, root);
}

class FileKeyVault implements KeyVault {
  readonly directory: string;
  readonly #root: Uint8Array;
  readonly #seal: Uint8Array;

  constructor(directory: string, root: Uint8Array) {
    this.directory = directory;
    this.#root = root;
    this.#seal = subkey(root, "seal");
  }

  async put(name: string, secret: Uint8Array): Promise<void> {
    await writeFileAtomic(this.#file(name), seal(this.#seal, name, secret));
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    const file = this.#file(name);
    const sealed = await readFileIfAny(file);
    if (!sealed) return undefined;
    const secret = unseal(this.#seal, name, sealed);
    if (!secret) {
      throw refuse(
        "CAUSEWAY_KEYS_FILE_TAMPERED",
        `${file} does not open under the master key: it was changed, renamed or damaged; restore it from a copy, or enrol again`,
      );
    }
    return secret;
  }

  async delete(name: string): Promise<void> {
    const file = this.#file(name);
    await named(file, () => rm(file, { force: true }));
  }

  async names(): Promise<readonly string[]> {
    const files = await named(this.directory, () => readdir(this.directory));
    return files.filter((f) => f.endsWith(suffix) && !isTemporary(f)).map((f) => f.slice(0, -suffix.length));
  }

  async putKey(name: string, key: KeyPair): Promise<void> {
    const pkcs8 = key.exportPkcs8();
    try {
      await this.put(name, pkcs8);
    } finally {
      pkcs8.fill(0);
    }
  }

  async getKey(name: string): Promise<KeyPair | undefined> {
    const pkcs8 = await this.get(name);
    if (!pkcs8) return undefined;
    try {
      return importKeyPair(pkcs8);
    } finally {
      pkcs8.fill(0);
    }
  }

  async keyOrCreate(name: string, type: KeyType): Promise<KeyPair> {
    const known = await this.getKey(name);
    if (known) return known;
    const key = generateKeyPair(type);
    await this.putKey(name, key);
    return key;
  }

  deriveKey(label: string): Uint8Array {
    return subkey(this.#root, `derive:${label}`);
  }

  #file(name: string): string {
    if (!namePattern.test(name)) {
      throw refuse(
        "CAUSEWAY_MISUSE",
        `expected a vault name of letters, digits, '.', '-', '_', got ${JSON.stringify(name)}`,
      );
    }
    return join(this.directory, name + suffix);
  }
}

/** The public start of a vault: how the master key is stretched, and a sealed word that tells a wrong one. */
interface VaultHeader {
  readonly n: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Uint8Array;
  readonly check: Uint8Array;
}

async function readHeader(directory: string): Promise<VaultHeader | undefined> {
  const file = join(directory, headerFile);
  const text = await readFileIfAny(file);
  if (!text) return undefined;
  const header = parseHeader(text);
  if (!header) {
    throw refuse(
      "CAUSEWAY_KEYS_FILE_TAMPERED",
      `${file} is not the header of a key vault; restore it from a copy, or enrol again`,
    );
  }
  return header;
}

function parseHeader(text: Uint8Array): VaultHeader | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text).toString("utf8"));
  } catch {
    // Not JSON: the caller reports the file as damaged.
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const field = (name: string): unknown => Reflect.get(value, name);
  const [n, r, p, salt, check] = [field("n"), field("r"), field("p"), field("salt"), field("check")];
  const isCost = (x: unknown, max: number): x is number =>
    typeof x === "number" && Number.isInteger(x) && x > 0 && x <= max;
  // The costs are bounded above, so that a changed header cannot make the process run out of memory.
  if (field("version") !== 1 || field("kdf") !== "scrypt" || !isCost(n, 2 ** 17) || !isCost(r, 8) || !isCost(p, 4)) {
    return undefined;
  }
  if (typeof salt !== "string" || typeof check !== "string") return undefined;
  return { n, r, p, salt: fromBase64(salt), check: fromBase64(check) };
}

async function writeHeader(directory: string, master: Uint8Array): Promise<VaultHeader> {
  const costs = { n: 2 ** 14, r: 8, p: 1, salt: new Uint8Array(randomBytes(16)) };
  const root = await stretch(master, costs);
  const check = seal(subkey(root, "check"), "check", Buffer.from("causeway"));
  const text = JSON.stringify({
    version: 1,
    kdf: "scrypt",
    n: costs.n,
    r: costs.r,
    p: costs.p,
    salt: Buffer.from(costs.salt).toString("base64"),
    check: Buffer.from(check).toString("base64"),
  });
  const made = await createFileAtomic(join(directory, headerFile), Buffer.from(`${text}\n`));
  const other = made ? undefined : await readHeader(directory);
  return other ?? { ...costs, check };
}

function stretch(master: Uint8Array, costs: Omit<VaultHeader, "check">): Promise<Uint8Array> {
  const { n, r, p, salt } = costs;
  return new Promise((resolve, reject) => {
    scrypt(master, salt, 32, { N: n, r, p, maxmem: 256 * n * r * p }, (error, key) => {
      if (error) reject(error);
      else resolve(new Uint8Array(key));
    });
  });
}

function subkey(root: Uint8Array, label: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", root, new Uint8Array(), `causeway vault ${label}`, 32));
}

function seal(key: Uint8Array, name: string, secret: Uint8Array): Uint8Array {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
  return new Uint8Array(Buffer.concat([magic, nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]));
}

/** The secret, or undefined when the bytes were not sealed under this key and name. */
function unseal(key: Uint8Array, name: string, sealed: Uint8Array): Uint8Array | undefined {
  const start = magic.length + nonceBytes;
  if (sealed.length < start + tagBytes || !magic.equals(sealed.subarray(0, magic.length))) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(magic.length, start), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(Buffer.from(name)).setAuthTag(sealed.subarray(-tagBytes));
  try {
    return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(start, -tagBytes)), decipher.final()]));
  } catch {
    // The tag does not fit: another key, another name or changed bytes. The caller says which it can be.
    return undefined;
  }
}

/** Removes what a crash left behind. Younger files may belong to a process that is writing right now. */
async function removeTemporaries(directory: string): Promise<void> {
  await named(directory, async () => {
    for (const name of (await readdir(directory)).filter(isTemporary)) {
      const info = await stat(join(directory, name)).catch(() => undefined);
      if (info && info.mtimeMs < Date.now() - temporaryMsMax) await rm(join(directory, name), { force: true });
    }
  });
}

const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
const headerFile = "vault.json";
const suffix = ".sealed";
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$/;
const magic = Buffer.from("CWV1");
const temporaryMsMax = 60_000;
const nonceBytes = 12;
const tagBytes = 16;
