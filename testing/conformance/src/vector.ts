/** Reads test vectors: JSON objects with hexadecimal strings. A missing or wrong member is an error with its path. */
export class Vector {
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new Error(`${path}: expected an object`);
    this.#value = value as Readonly<Record<string, unknown>>;
    this.#path = path;
  }

  has(...keys: readonly string[]): boolean {
    return keys.every((key) => Object.hasOwn(this.#value, key));
  }

  keys(): readonly string[] {
    return Object.keys(this.#value);
  }

  number(key: string): number {
    return numberOf(this.#value[key], `${this.#path}.${key}`);
  }

  text(key: string): string {
    return textOf(this.#value[key], `${this.#path}.${key}`);
  }

  bytes(key: string): Uint8Array {
    return fromHex(this.text(key));
  }

  /** Undefined when the member is null or absent. */
  optionalBytes(key: string): Uint8Array | undefined {
    const value = this.#value[key];
    return value === null || value === undefined ? undefined : this.bytes(key);
  }

  part(key: string): Vector {
    return new Vector(this.#value[key], `${this.#path}.${key}`);
  }

  parts(key: string): readonly Vector[] {
    return this.list(key).map((each, i) => new Vector(each, `${this.#path}.${key}[${i}]`));
  }

  list(key: string): readonly unknown[] {
    const value = this.#value[key];
    if (!Array.isArray(value)) throw new Error(`${this.#path}.${key}: expected a list`);
    return value;
  }
}

export function numberOf(value: unknown, path: string): number {
  if (typeof value !== "number") throw new Error(`${path}: expected a number`);
  return value;
}

export function textOf(value: unknown, path: string): string {
  if (typeof value !== "string") throw new Error(`${path}: expected a string`);
  return value;
}

export function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}

/** Throws unless both are the same bytes. */
export function same(what: string, actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) !== 0) {
    throw new Error(`${what}: expected ${hex(expected)}, got ${hex(actual)}`);
  }
}

/** Throws unless the claim holds. */
export function holds(what: string, claim: boolean): void {
  if (!claim) throw new Error(`${what} does not hold`);
}

function hex(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString("hex");
  return text.length > 80 ? `${text.slice(0, 80)}… (${bytes.length} bytes)` : text;
}
