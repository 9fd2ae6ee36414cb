/**
 * A gateway that wants agents it has no right to. `foreign`: its certificate names a gateway of the domain and comes
 * from an authority of its own. `agent`: it has a real certificate of the domain, for an agent. `spoof`: it has a real
 * one for a gateway, and makes offers in another's name. Says what it was asked.
 */
import { systemRandom } from "@causeway/adapter-clock";
import { serveDatagrams } from "@causeway/adapter-discovery";
import { createPort } from "@causeway/adapter-h2";
import { loadIdentity, nodeCrypto, openKeyVault, type TlsIdentity } from "@causeway/adapter-keys";
import { serverOptions, verifiedPeerOf } from "@causeway/adapter-tls";
import { DatagramResponder, defaultFeatures, makeOffer, type OfferFacts, offerFor } from "@causeway/core-attachment";
import { asInstant, asUnixMs, type GatewayUri, type SpiffeId } from "@causeway/core-base";
import type { PeerVerifier, Signer, TrustStore } from "@causeway/core-identity";
import { createTestDomain } from "@causeway/core-identity/testing";
import { aap } from "@causeway/core-wire";

interface Order {
  readonly kind: "foreign" | "agent" | "spoof";
  readonly listen: string;
  readonly port: number;
  /** Whom it claims to be. */
  readonly claims: { readonly id: string; readonly uri: string; readonly endpoint: string };
  /** Where its own identity is. */
  readonly identity?: { readonly directory: string; readonly masterKeyFile: string };
}

const order = JSON.parse(process.argv[2] ?? "{}") as Order;
const say = (event: string): boolean => process.stdout.write(`${JSON.stringify({ event })}\n`);
const now = () => asUnixMs(Date.now());

const { tls, signer, trust } = await identityOf();
const port = createPort({
  tls: () => serverOptions(tls),
  host: order.listen,
  port: order.port,
  authenticate(socket) {
    say("connection");
    return verifiedPeerOf(socket, trust, now());
  },
  services: (router) =>
    router.service(aap.DiscoveryService, {
      discover(request) {
        say("discover");
        const offer = makeOffer(request, factsOf(), now(), signer);
        if (offer === undefined) throw new Error("no offer");
        return offer;
      },
    }),
  onLink(link) {
    say("link");
    link.onFrames(() => say("frame"));
  },
});
await port.start();
const responder = new DatagramResponder({
  crypto: nodeCrypto,
  random: systemRandom,
  offer: (request) => offerFor(request, factsOf(), now(), signer),
});
await serveDatagrams({
  host: order.listen,
  port: order.port,
  handle(source, bytes) {
    say("datagram");
    return responder.handle({ instant: asInstant(performance.now()), unix: now() }, source, bytes);
  },
});
say("ready");

function factsOf(): OfferFacts {
  const { id, uri, endpoint } = order.claims;
  const facts = { gatewayId: id as SpiffeId, gatewayUri: uri as GatewayUri, endpoint, features: defaultFeatures };
  return { ...facts, load: 0, silentAtLoad: 101 };
}

async function identityOf(): Promise<{ tls: TlsIdentity; signer: Signer; trust: PeerVerifier }> {
  if (order.identity === undefined) {
    const domain = createTestDomain("blue.example", { now: now() });
    const made = domain.identity("gateway/near", { role: "gateway" });
    return { tls: made.tls(), signer: made.signer("tls"), trust: believing(domain.store()) };
  }
  const vault = await openKeyVault({ ...order.identity, create: false });
  const identity = await loadIdentity(vault);
  if (identity === undefined) throw new Error(`no identity in ${vault.directory}`);
  return {
    tls: identity.tls(),
    signer: identity.signer("tls"),
    trust: believing(createTestDomain("x.example", { now: now() }).store()),
  };
}

/** Takes whoever comes for an agent, as one does who wants visitors. */
function believing(store: TrustStore): PeerVerifier {
  const visitor = createTestDomain("visitors.example", { now: now() }).peer("anybody");
  return { roots: () => store.roots(), verifyChain: () => visitor };
}
