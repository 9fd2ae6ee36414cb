/** Reading AttachHello: untrusted bytes become checked facts or a typed refusal, in one step. */
import { fromBinary } from "@bufbuild/protobuf";
import {
  type AgentId,
  agentOf,
  type ErrorFacts,
  instanceOf,
  isCausewayError,
  parseSpiffeId,
} from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { aap } from "@causeway/core-wire";
import type { AttachmentModelName } from "./effects.ts";
import { isFeatureList, missingFeatures, negotiate } from "./features.ts";
import { nonceBytes } from "./transcript.ts";

/** What a checked hello says. */
export interface HelloFacts {
  readonly agentId: AgentId;
  readonly instance: string;
  readonly nonce: Uint8Array;
  readonly features: readonly string[];
  readonly model: AttachmentModelName;
  readonly attachmentSequence: bigint;
  readonly advertise: boolean;
  /** Messages that the agent takes each second; 0 for no limit of its own. */
  readonly messagesPerSecondMax: number;
  readonly channelBinding: ChannelBindingName;
}

/** What ties a handshake to its TLS connection (ADR 30). */
export type ChannelBindingName = "tls-exporter" | "tls-server-end-point";

/** What the gateway offers to a hello. */
export interface HelloTerms {
  readonly channelBindings: readonly ChannelBindingName[];
  readonly features: readonly string[];
  readonly requiredFeatures: readonly string[];
  readonly models: readonly AttachmentModelName[];
}

/** Checks a hello against the verified peer that sent it and the gateway's terms. */
export function readHello(bytes: Uint8Array, peer: VerifiedPeer, terms: HelloTerms): HelloFacts | ErrorFacts {
  let hello: aap.AttachHello;
  try {
    hello = fromBinary(aap.AttachHelloSchema, bytes);
  } catch {
    return { code: "CAUSEWAY_FRAME_MALFORMED", message: "expected an AttachHello, got bytes that do not decode" };
  }
  if (peer.role !== "agent" || peer.purpose !== "tls") {
    return {
      code: "CAUSEWAY_IDENTITY_ROLE_WRONG",
      message: `expected a TLS certificate of an agent, got one of role ${peer.role} for ${peer.purpose}`,
    };
  }
  // AAP-63: the name in the hello has to be the one that TLS has proven.
  if (hello.agentId !== peer.spiffeId) {
    return {
      code: "CAUSEWAY_IDENTITY_MISMATCH",
      message: `expected the certified Agent ID ${peer.spiffeId}, got ${JSON.stringify(hello.agentId.slice(0, 100))}`,
    };
  }
  if (!isInstance(peer.spiffeId, hello.instance)) {
    return { code: "CAUSEWAY_NAME_INVALID", message: "expected an instance of 1 to 64 letters, digits, '-' or '_'" };
  }
  if (hello.nonce.length !== nonceBytes) {
    return {
      code: "CAUSEWAY_FRAME_MALFORMED",
      message: `expected a nonce of ${nonceBytes} bytes, got ${hello.nonce.length}`,
    };
  }
  if (!isFeatureList(hello.features)) {
    return { code: "CAUSEWAY_FRAME_MALFORMED", message: "expected at most 64 features of the form name/version" };
  }
  const channelBinding = bindingNames[hello.channelBinding];
  if (channelBinding === undefined || !terms.channelBindings.includes(channelBinding)) {
    return {
      code: "CAUSEWAY_UNSUPPORTED",
      message: `expected the channel binding ${terms.channelBindings.join(" or ")}, got ${channelBinding ?? `number ${Number(hello.channelBinding)}`}`,
    };
  }
  const features = negotiate(terms.features, hello.features);
  const missing = missingFeatures(features, terms.requiredFeatures);
  if (missing.length > 0) {
    return {
      code: "CAUSEWAY_ATTACHMENT_FEATURE_MISSING",
      message: `expected the features ${missing.join(", ")}, which the agent does not offer`,
    };
  }
  return {
    agentId: agentOf(peer.spiffeId),
    instance: hello.instance,
    nonce: hello.nonce,
    features,
    model: chooseModel(hello.model, terms.models),
    attachmentSequence: hello.attachmentSequence,
    advertise: hello.advertise,
    messagesPerSecondMax: hello.messagesPerSecondMax,
    channelBinding,
  };
}

const bindingNames: Readonly<Partial<Record<aap.ChannelBinding, ChannelBindingName>>> = {
  [aap.ChannelBinding.UNSPECIFIED]: "tls-exporter",
  [aap.ChannelBinding.TLS_EXPORTER]: "tls-exporter",
  [aap.ChannelBinding.TLS_SERVER_END_POINT]: "tls-server-end-point",
};

function isInstance(agentId: string, instance: string): boolean {
  try {
    return instanceOf(parseSpiffeId(`${agentId}/@${instance}`)) === instance;
  } catch (thrown) {
    if (isCausewayError(thrown)) return false;
    throw thrown;
  }
}

/** The agent's wish if the gateway offers it, else the gateway's first (AAP-81). */
function chooseModel(wish: aap.AttachmentModel, models: readonly AttachmentModelName[]): AttachmentModelName {
  const wanted: AttachmentModelName = wish === aap.AttachmentModel.SOFT ? "soft" : "stateful";
  return models.includes(wanted) ? wanted : (models[0] ?? "stateful");
}
