import { refuse } from "@causeway/core-base";
import type { KeyPair, KeyType } from "./key-pair.ts";

/** Where a vault lives and what opens it. */
export interface KeyVaultOptions {
  /** Directory of the wrapped keys, made with mode 0700. */
  readonly directory: string;
  /** File with the master key, outside `directory`. Made with mode 0600 on first use unless `create` is false. */
  readonly masterKeyFile: string;
  /** Default true. False refuses when the master key file does not exist. */
  readonly create?: boolean;
}

/** Private keys and other secrets on disk, each wrapped with AES-256-GCM under a master key from elsewhere (AGP-44). */
export interface KeyVault {
  readonly directory: string;
  /** Writes a secret atomically, mode 0600. `name` is a file name of letters, digits, '.', '-', '_'. */
  put(name: string, secret: Uint8Array): Promise<void>;
  /** The secret, or undefined when there is none of this name. Throws `CAUSEWAY_KEYS_*` when it cannot be opened. */
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

/** Opens a vault. Throws `CAUSEWAY_KEYS_MASTER_UNSAFE` when others may read the master key file. */
export async function openKeyVault(_options: KeyVaultOptions): Promise<KeyVault> {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}
