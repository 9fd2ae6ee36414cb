/**
 * What may come over a direct link: a hello, then envelopes and the questions and answers that gateways would carry, all
 * from the agent of the other end's certificate to this one. Anything else is a fault of the other side.
 */
import { type AgentId, agentOf, CausewayError, parseSpiffeId, refuse, type SpiffeId } from "@causeway/core-base";
import { agp, decodeFrame } from "@causeway/core-wire";

/** Both ends of a direct link. */
export interface DirectEnds {
  readonly self: AgentId;
  /** The same, with the instance when it has a name. */
  readonly source: SpiffeId;
  /** The agent that the other end's certificate names. */
  readonly peer: AgentId;
  /** What its hello named; undefined before. */
  readonly peerName: SpiffeId | undefined;
}

/** One frame that may be handled. */
export type DirectFrame =
  | { readonly kind: "hello"; readonly name: SpiffeId; readonly isWithoutGateway: boolean }
  | { readonly kind: "message"; readonly envelope: agp.Envelope }
  | { readonly kind: "control"; readonly control: agp.Control };

/** Reads a received frame. Throws a `CAUSEWAY_FRAME_*`, `CAUSEWAY_HEADER_*` or `CAUSEWAY_IDENTITY_MISMATCH` error. */
export function readDirectFrame(bytes: Uint8Array, ends: DirectEnds): DirectFrame {
  const body = decodeFrame(bytes);
  if (body.case === "directHello") return readHello(body.value, ends);
  if (ends.peerName === undefined)
    throw refuse("CAUSEWAY_FRAME_UNEXPECTED", `expected a hello first on a direct link, got a ${body.case}`);
  if (body.case === "message") {
    checkHeader(body.value.header, ends);
    return { kind: "message", envelope: body.value };
  }
  if (body.case === "control") {
    checkHeader(body.value.header, ends);
    checkControl(body.value);
    return { kind: "control", control: body.value };
  }
  throw refuse("CAUSEWAY_FRAME_UNEXPECTED", `expected a message on a direct link, got a ${body.case}`);
}

function readHello({ source, target, withoutGateway }: agp.DirectHello, ends: DirectEnds): DirectFrame {
  const name = nameOf(source);
  if (agentOf(name) !== ends.peer)
    throw refuse(
      "CAUSEWAY_IDENTITY_MISMATCH",
      `expected a hello of ${ends.peer}, whose certificate this is, got ${name}`,
    );
  if (ends.peerName !== undefined && ends.peerName !== name)
    throw refuse("CAUSEWAY_IDENTITY_MISMATCH", `expected ${ends.peerName} to keep its name, got ${name}`);
  checkTarget(target, ends);
  return { kind: "hello", name, isWithoutGateway: withoutGateway };
}

/** The source is the certified peer and nobody else, the target this agent and nobody else. */
function checkHeader(header: agp.RoutingHeader | undefined, ends: DirectEnds): void {
  if (header?.targetKind !== agp.TargetKind.AGENT)
    throw refuse("CAUSEWAY_HEADER_INVALID", "expected a header to one agent on a direct link, got another or none");
  if (header.source !== ends.peerName) {
    const problem = `expected ${ends.peerName} as source, as the other end is certified and named, got ${header.source}`;
    throw refuse("CAUSEWAY_IDENTITY_MISMATCH", problem);
  }
  checkTarget(header.target, ends);
}

function checkTarget(target: string, { self, source }: DirectEnds): void {
  if (target === self || target === source) return;
  throw refuse(
    "CAUSEWAY_IDENTITY_MISMATCH",
    `expected this agent, ${source}, as target of a direct link, got ${target}`,
  );
}

/** No gateway is here: nobody but the other agent speaks, and only of itself. */
function checkControl({ body }: agp.Control): void {
  if (body.case === "keyPackageFetch" || body.case === "keyPackageResult") return;
  const isAboutContext =
    body.case === "deliveryReport" &&
    body.value.fate === agp.Fate.UNSPECIFIED &&
    body.value.error?.code === "CAUSEWAY_E2EE_CONTEXT_UNKNOWN";
  if (!isAboutContext)
    throw refuse("CAUSEWAY_FRAME_UNEXPECTED", `expected nothing of a gateway on a direct link, got a ${body.case}`);
}

function nameOf(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (thrown) {
    throw refuse("CAUSEWAY_IDENTITY_MISMATCH", `expected the name of an agent: ${CausewayError.from(thrown).message}`);
  }
}
