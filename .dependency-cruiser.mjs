// The arrows between the rooms (DESIGN section 3). Each rule says in a sentence what it protects.
const tests = "\\.test\\.ts$|/testing/";

const rule = (name, comment, from, to) => ({ name, comment, severity: "error", from, to });

export default {
  forbidden: [
    rule(
      "no-cycles",
      "A cycle hides which file knows which.",
      {},
      { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    ),
    rule(
      "core-is-pure",
      "The core gets time, randomness and IO as arguments.",
      { path: "^core/", pathNot: tests },
      { dependencyTypes: ["core"] },
    ),
    rule(
      "core-imports-core",
      "The core imports lower core rooms and the protobuf runtime, nothing else.",
      { path: "^core/", pathNot: tests },
      { pathNot: "^core/|^node_modules/@bufbuild/protobuf" },
    ),
    rule(
      "base-is-lowest",
      "core/base knows no other room.",
      { path: "^core/base/", pathNot: tests },
      { path: "^core/(?!base/)" },
    ),
    rule(
      "wire-above-base",
      "core/wire knows core/base only.",
      { path: "^core/wire/", pathNot: tests },
      { path: "^core/(?!base/|wire/)" },
    ),
    rule(
      "identity-above-wire",
      "core/identity knows base and wire.",
      { path: "^core/identity/", pathNot: tests },
      { path: "^core/(?!base/|wire/|identity/)" },
    ),
    rule(
      "core-siblings",
      "Attachment, forwarding, topics, session and mailbox do not know each other or sync.",
      { path: "^core/(attachment|forwarding|topics|session|mailbox)/", pathNot: tests },
      { path: "^core/(attachment|forwarding|topics|session|mailbox|sync)/", pathNot: "^core/$1/" },
    ),
    rule(
      "adapters-import-core",
      "An adapter implements the core's ports and knows no service.",
      { path: "^adapters/", pathNot: tests },
      { path: "^(services|sdk|bridges|apps|e2ee|testing)/" },
    ),
    rule(
      "adapters-apart",
      "Adapters take each other's products as arguments.",
      { path: "^adapters/([^/]+)/", pathNot: tests },
      { path: "^adapters/", pathNot: "^adapters/$1/" },
    ),
    rule(
      "e2ee-at-endpoints",
      "The encryption layer knows names and certificates, no services and no sockets.",
      { path: "^e2ee/", pathNot: tests },
      { path: "^(services|sdk|bridges|apps|adapters|testing)/" },
    ),
    rule(
      "services-import-core",
      "A service sees ports; the composition root hands in adapters. Gateways are blind: no e2ee.",
      { path: "^services/", pathNot: tests },
      { path: "^(adapters|e2ee|sdk|bridges|apps|testing)/" },
    ),
    rule(
      "services-apart",
      "Services talk over the wire.",
      { path: "^services/([^/]+)/", pathNot: tests },
      { path: "^services/", pathNot: "^services/$1/" },
    ),
    rule(
      "sdk-without-services",
      "The SDK knows no service.",
      { path: "^sdk/", pathNot: tests },
      { path: "^(services|bridges|apps)/" },
    ),
    rule(
      "sdk-neutral",
      "The root entry of the SDK runs anywhere; adapters only under node/.",
      { path: "^sdk/agent/src/", pathNot: "^sdk/agent/src/(node|testing)/|\\.test\\.ts$" },
      { path: "^adapters/" },
    ),
    rule(
      "bridges-on-sdk",
      "A bridge is an endpoint: it uses the SDK and the foreign library.",
      { path: "^bridges/", pathNot: tests },
      { path: "^(services|adapters|apps|testing)/" },
    ),
    rule(
      "bridges-apart",
      "Bridges do not know each other.",
      { path: "^bridges/([^/]+)/" },
      { path: "^bridges/", pathNot: "^bridges/$1/" },
    ),
    rule("nothing-imports-apps", "Programs are the top.", { pathNot: "^(apps|testing)/" }, { path: "^apps/" }),
    rule(
      "nothing-imports-testing",
      "Test rooms are leaves.",
      { path: "^(core|adapters|e2ee|services|sdk|bridges|apps|examples)/", pathNot: tests },
      { path: "^testing/" },
    ),
    rule(
      "no-undeclared",
      "A package declares what it imports.",
      { pathNot: "\\.test\\.ts$" },
      { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    ),
    rule("resolvable", "An import that resolves to nothing is a mistake.", {}, { couldNotResolve: true }),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "/gen/|/dist/" },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default"],
      extensions: [".ts", ".js", ".mjs", ".json"],
    },
  },
};
