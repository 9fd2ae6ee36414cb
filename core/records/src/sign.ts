/** Signing of records, origin statements and receipts. Each kind has its own label, so one cannot pass as another. */

import { create, toBinary } from "@bufbuild/protobuf";
import { labelled, type Signer, signBytes } from "@causeway/core-identity";
import { record } from "@causeway/core-wire";
import { checkRecordSize, encodeRecordBody, type RecordDraft } from "./record.ts";
import { encodeOriginStatement, encodeReceipt, type OriginStatement, type Receipt } from "./statements.ts";

/** Builds and signs a record with the agent's record key. Throws CAUSEWAY_RECORD_MALFORMED or CAUSEWAY_RECORD_TOO_LARGE. */
export function signRecord(signer: Signer, draft: RecordDraft): record.SignedRecord {
  const body = encodeRecordBody(draft);
  const signed = create(record.SignedRecordSchema, {
    body,
    agentSignature: signBytes(signer, labelled("record", body)),
  });
  checkRecordSize(toBinary(record.SignedRecordSchema, signed).length);
  return signed;
}

/** Signs an origin statement with the gateway's record key. */
export function signOrigin(signer: Signer, statement: OriginStatement): record.SignedOrigin {
  const bytes = encodeOriginStatement(statement);
  return create(record.SignedOriginSchema, {
    statement: bytes,
    signature: signBytes(signer, labelled("origin", bytes)),
  });
}

/** Signs a receipt with the registry's record key. */
export function signReceipt(signer: Signer, receipt: Receipt): record.SignedReceipt {
  const bytes = encodeReceipt(receipt);
  return create(record.SignedReceiptSchema, {
    receipt: bytes,
    signature: signBytes(signer, labelled("receipt", bytes)),
  });
}
