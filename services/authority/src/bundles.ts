/** Trust in other domains: explicit, one bundle at a time, by an operator (ANA-9). */
import { create, fromBinary, fromJsonString, toBinary, toJsonString } from "@bufbuild/protobuf";
import { type Domain, parseDomain, refuse } from "@causeway/core-base";
import { type Certificate, isCrlIssuedBy, parseCertificate, parseCrl, TrustStore } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { sameBytes } from "./bytes.ts";
import { type AuthorityContext, audit } from "./context.ts";

/** Trusts another domain from now on, or replaces what is trusted of it. */
export function addTrust(
  context: AuthorityContext,
  operator: string,
  bundle: aca.TrustBundle | undefined,
): aca.TrustState {
  const { store, feed, settings } = context;
  const domain = checkBundle(context, bundle);
  const given = bundle ?? create(aca.TrustBundleSchema);
  const known = store.bundles();
  if (known.length >= settings.foreignDomainsMax && !known.some((b) => b.domain === domain)) {
    throw refuse(
      "CAUSEWAY_LIMIT_COUNT",
      `${settings.foreignDomainsMax} domains are trusted already; remove one first`,
      {
        details: { limit: "foreignDomainsMax" },
      },
    );
  }
  store.transaction(() => {
    const before = known.find((b) => b.domain === domain);
    const held = before ? fromBinary(aca.TrustBundleSchema, before.bundle).crls : [];
    // Those of CAs that the bundle does not show are kept: chains that are presented may show them.
    const others = given.crls.filter((crl) => newestCrls(context, given, [crl]).length === 0);
    const crls = [...newestCrls(context, given, [...given.crls, ...held]), ...others];
    const kept = create(aca.TrustBundleSchema, { ...given, crls });
    store.putBundle({ domain, bundle: toBinary(aca.TrustBundleSchema, kept) });
    feed.bump();
    audit(context, "trust.added", operator, domain, `${given.roots.length} roots`);
  });
  feed.publish();
  return feed.state;
}

/** Ends the trust in another domain; its certificates are refused at once. */
export function removeTrust(context: AuthorityContext, operator: string, name: string): aca.TrustState {
  const { store, feed } = context;
  const domain = parseDomain(name);
  store.transaction(() => {
    if (!store.deleteBundle(domain)) {
      throw refuse(
        "CAUSEWAY_IDENTITY_BUNDLE_INVALID",
        `${domain} is not among the trusted domains; causeway cert trusted lists them`,
      );
    }
    feed.bump();
    audit(context, "trust.removed", operator, domain);
  });
  feed.publish();
  return feed.state;
}

/**
 * Takes newer CRLs of a trusted domain; false when nothing changed. An older list never replaces a newer one, and what
 * the domain's CAs did not sign is refused.
 */
export function updateCrls(context: AuthorityContext, name: string, crls: readonly Uint8Array[]): boolean {
  const { store, feed } = context;
  const stored = store.bundles().find((b) => b.domain === name);
  if (!stored) return false;
  const bundle = fromBinary(aca.TrustBundleSchema, stored.bundle);
  const cas = casOf(bundle);
  if (!crls.map(parseCrl).every((crl) => cas.some((ca) => isCrlIssuedBy(context.crypto, crl, ca)))) {
    throw refuse(
      "CAUSEWAY_IDENTITY_BUNDLE_INVALID",
      `expected revocation lists that the CAs of ${name} signed, got another one; the lists held stay in force`,
    );
  }
  const newest = newestCrls(context, bundle, [...bundle.crls, ...crls]);
  if (newest.every((crl) => bundle.crls.some((held) => sameBytes(held, crl)))) return false;
  const next = create(aca.TrustBundleSchema, { ...bundle, crls: newest });
  checkBundle(context, next);
  store.transaction(() => {
    store.putBundle({ domain: name, bundle: toBinary(aca.TrustBundleSchema, next) });
    feed.bump();
  });
  feed.publish();
  return true;
}

/** Of each CA of the bundle the newest full list and the newest delta among `crls`. */
function newestCrls({ crypto }: AuthorityContext, bundle: aca.TrustBundle, crls: readonly Uint8Array[]): Uint8Array[] {
  const parsed = crls.map((der) => ({ der, crl: parseCrl(der) }));
  const newest = casOf(bundle).flatMap((ca) => {
    const own = parsed
      .filter(({ crl }) => isCrlIssuedBy(crypto, crl, ca))
      .toSorted((a, b) => b.crl.thisUpdate - a.crl.thisUpdate || (b.crl.number > a.crl.number ? 1 : -1));
    const full = own.find(({ crl }) => crl.baseNumber === undefined);
    const delta = own.find(({ crl }) => crl.baseNumber !== undefined);
    return [full, delta].flatMap((found) => (found ? [found.der] : []));
  });
  // Two certificates over one key have the same list.
  return newest.filter((der, i) => newest.findIndex((other) => sameBytes(other, der)) === i);
}

const casOf = (bundle: aca.TrustBundle): readonly Certificate[] =>
  [...bundle.roots, ...bundle.intermediates].map(parseCertificate);

/** The file that operators of two domains hand to each other: JSON of a TrustBundle, public values only. */
export function encodeBundleFile(bundle: aca.TrustBundle): string {
  return `${toJsonString(aca.TrustBundleSchema, bundle, { prettySpaces: 2 })}\n`;
}

/** Reads a bundle file. Throws `CAUSEWAY_IDENTITY_BUNDLE_INVALID`. */
export function parseBundleFile(text: string): aca.TrustBundle {
  try {
    return fromJsonString(aca.TrustBundleSchema, text, { ignoreUnknownFields: false });
  } catch (thrown) {
    throw refuse(
      "CAUSEWAY_IDENTITY_BUNDLE_INVALID",
      "expected a bundle file as the other domain's operator exports it, got something else",
      { cause: thrown },
    );
  }
}

/** Everything that `TrustStore` would refuse is refused here already, with its reason. */
function checkBundle(context: AuthorityContext, bundle: aca.TrustBundle | undefined): Domain {
  if (!bundle) throw refuse("CAUSEWAY_IDENTITY_BUNDLE_INVALID", "expected a trust bundle, got none");
  const domain = parseDomain(bundle.domain);
  if (domain === context.settings.domain) {
    throw refuse(
      "CAUSEWAY_IDENTITY_BUNDLE_INVALID",
      `${domain} is this authority's own domain; give the bundle of the other domain`,
    );
  }
  if (bundle.roots.length === 0 || toBinary(aca.TrustBundleSchema, bundle).length > bundleBytesMax) {
    throw refuse(
      "CAUSEWAY_IDENTITY_BUNDLE_INVALID",
      `expected at least one root and at most ${bundleBytesMax} bytes in the bundle of ${domain}`,
    );
  }
  if (bundle.authorityUrl !== "" && !/^https:\/\/[^/\s?#@]+:\d{1,5}$/.test(bundle.authorityUrl)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_BUNDLE_INVALID",
      `expected the authority of ${domain} as https://host:port, got ${JSON.stringify(bundle.authorityUrl.slice(0, 100))}`,
    );
  }
  const problems = new TrustStore(context.crypto).replace(
    create(aca.TrustStateSchema, { sequence: 1n, bundles: [bundle] }),
  );
  const problem = problems[0];
  if (problem)
    throw refuse("CAUSEWAY_IDENTITY_BUNDLE_INVALID", `the bundle of ${domain} cannot be used: ${problem.message}`);
  return domain;
}

const bundleBytesMax = 1_048_576;
