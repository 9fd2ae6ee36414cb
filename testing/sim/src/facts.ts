/** What really happened, kept by the world outside every machine: which statements their origins signed. */
import { type OriginStatement, parseOriginStatement } from "@causeway/core-records";
import type { record } from "@causeway/core-wire";

export class Facts {
  readonly #signed = new Set<string>();
  /** Statements of honest origins, oldest first; a misbehaving peer replays from here. */
  readonly statements: { readonly statement: OriginStatement; readonly signed: record.SignedOrigin }[] = [];

  noteSigned(statement: OriginStatement, signed: record.SignedOrigin): void {
    this.#signed.add(keyOf(signed.statement));
    this.statements.push({ statement, signed });
  }

  wasSigned(bytes: Uint8Array): boolean {
    return this.#signed.has(keyOf(bytes));
  }

  textOf(signed: record.SignedOrigin | undefined): string {
    try {
      const s = parseOriginStatement(signed?.statement ?? new Uint8Array());
      return `${s.agentId} of ${s.origin} ${s.version.epoch}.${s.version.sequence} ${s.withdrawn ? "withdrawn" : s.status}`;
    } catch {
      // Traces show what a misbehaving peer sends, too.
      return "an unreadable statement";
    }
  }
}

const keyOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
