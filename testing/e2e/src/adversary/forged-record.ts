/** Records as somebody would send them who does not care whether they are right. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { labelled, type Signer, signBytes } from "@causeway/core-identity";
import { record } from "@causeway/core-wire";

/** What a record is made of. */
export interface Draft {
  readonly agentId: string;
  readonly revision?: bigint;
  /** Description in the card. */
  readonly description?: string;
  readonly updatedUnixMs?: number;
}

/** Signs whatever it is given: no check of size, owner or fields. */
export function forgeRecord(signer: Signer, draft: Draft): record.SignedRecord {
  const card = {
    name: "Mallory",
    description: draft.description ?? "Does what it likes",
    version: "1",
    skills: [{ id: "lie", name: "Lie", description: "Says what is not so" }],
  };
  const body = toBinary(
    record.RecordBodySchema,
    create(record.RecordBodySchema, {
      version: 1,
      agentId: draft.agentId,
      agentCard: new TextEncoder().encode(JSON.stringify(card)),
      protocols: ["agp/1"],
      revision: draft.revision ?? 1n,
      updatedUnixMs: BigInt(draft.updatedUnixMs ?? Date.now()),
    }),
  );
  return create(record.SignedRecordSchema, { body, agentSignature: signBytes(signer, labelled("record", body)) });
}

/** The same record with one byte of its body changed. */
export function tampered(signed: record.SignedRecord): record.SignedRecord {
  const copy = fromBinary(record.SignedRecordSchema, toBinary(record.SignedRecordSchema, signed));
  const at = Buffer.from(copy.body).indexOf("likes");
  copy.body[at] = (copy.body[at] ?? 0) ^ 1;
  return copy;
}
