/** Accepted kinds of public key. */
export type KeyKind = "P-256" | "Ed25519";
/** The kind of a SubjectPublicKeyInfo. Throws CAUSEWAY_IDENTITY_KEY_REFUSED for everything else and for weak keys. */
export function acceptKey(_spki: Uint8Array): KeyKind {
  throw new Error("not yet");
}
