/** PEM text of DER blocks in order. */
export function encodePem(_label: string, ..._ders: readonly Uint8Array[]): string {
  throw new Error("not yet");
}
/** DER blocks with the given label, in order. */
export function decodePem(_label: string, _text: string): readonly Uint8Array[] {
  throw new Error("not yet");
}
