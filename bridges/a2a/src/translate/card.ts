/** The AgentCard that an endpoint serves for a remote agent. */
import { AgentCard } from "@a2a-js/sdk";

/** URI of the A2A extension that says who the agent is on the network and where its own card is. */
export const networkExtension = "https://causeway.example/a2a/extensions/network/v1";

/**
 * The card with this endpoint's interfaces in place of the agent's own. Its signatures are left out, because they
 * cover the URLs; the original, signature intact, is at `originalUrl`.
 */
export function endpointCard(options: {
  readonly card: AgentCard;
  readonly agentId: string;
  readonly baseUrl: string;
  readonly originalUrl: string;
  /** The endpoint wants a bearer token. */
  readonly needsToken: boolean;
}): AgentCard {
  const face = (protocolBinding: string, path: string) => ({
    url: `${options.baseUrl}${path}`,
    protocolBinding,
    protocolVersion: "1.0",
    tenant: "",
  });
  const capabilities = options.card.capabilities;
  return {
    ...options.card,
    supportedInterfaces: [face("JSONRPC", "/jsonrpc"), face("HTTP+JSON", "/rest")],
    capabilities: {
      ...capabilities,
      streaming: capabilities?.streaming ?? true,
      pushNotifications: false,
      extendedAgentCard: false,
      extensions: [
        ...(capabilities?.extensions ?? []).filter((extension) => extension.uri !== networkExtension),
        {
          uri: networkExtension,
          description: "The agent is reached end to end encrypted through the Causeway network.",
          required: false,
          params: { agentId: options.agentId, originalCard: options.originalUrl },
        },
      ],
    },
    securitySchemes: options.needsToken ? { [tokenScheme]: bearer } : {},
    securityRequirements: options.needsToken ? [{ schemes: { [tokenScheme]: { list: [] } } }] : [],
    signatures: [],
  };
}

const tokenScheme = "endpoint";
const bearer: AgentCard["securitySchemes"][string] = {
  scheme: {
    $case: "httpAuthSecurityScheme",
    value: { description: "The token of this endpoint.", scheme: "Bearer", bearerFormat: "" },
  },
};

/** Parses the bytes of a card. Throws a SyntaxError or TypeError with the problem. */
export function parseCard(bytes: Uint8Array): AgentCard {
  return AgentCard.fromJSON(
    JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Parameters<typeof AgentCard.fromJSON>[0],
  );
}
