/** The page of limits: defaults from the code, what they mean from the comments beside them. */
import { readFileSync } from "node:fs";
import { connectionLimits } from "../adapters/h2/src/limit-rules.ts";
import { h2Limits } from "../adapters/h2/src/limits.ts";
import { defaults, type LimitRule } from "../core/base/src/index.ts";
import { resolutionLimits } from "../core/forwarding/src/resolutions.ts";
import { mailboxLimits } from "../core/mailbox/src/limits.ts";
import { sessionLimits } from "../core/session/src/limits.ts";
import { streamLimits } from "../core/session/src/stream-frames.ts";
import { defaultSyncLimits } from "../core/sync/src/limits.ts";
import { wireLimits } from "../core/wire/src/limits.ts";
import { directLimits } from "../sdk/agent/src/direct/limits.ts";
import { exchangeLimits } from "../sdk/agent/src/exchange/limits.ts";
import { authorityLimitRules, authorityLimits } from "../services/authority/src/config.ts";
import { gatewayLimitRules } from "../services/gateway/src/limit-rules.ts";
import { gatewayLimits } from "../services/gateway/src/limits.ts";
import { registryLimits } from "../services/registry/src/limits.ts";

interface Section {
  readonly title: string;
  readonly text: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** File with the declaration that has the comments, and how the declaration begins. */
  readonly file: string;
  readonly declaration: string;
}

const sections: readonly Section[] = [
  {
    title: "Protocols",
    text: "Shared by every part; several of the limits below take their default from here.",
    values: defaults,
    file: "core/base/src/defaults.ts",
    declaration: "export const defaults",
  },
  {
    title: "Messages on the wire",
    text: "What is over a bound is refused, never cut.",
    values: wireLimits,
    file: "core/wire/src/limits.ts",
    declaration: "export const wireLimits",
  },
  {
    title: "Connections",
    text: "Of each port of a service, and of each connection that it dials. Set with `connection.` before the name under `limits` of `gateways[]`, `registry` or `authority` in the configuration; they are listed with the others. A change counts after a restart of the service.",
    values: h2Limits,
    file: "adapters/h2/src/limits.ts",
    declaration: "export interface H2Limits",
  },
  {
    title: "Gateway",
    text: "All of them can be set under `gateways[].limits` of the configuration, and changed while the gateway runs.",
    values: without(gatewayLimits, { ...mailboxLimits, ...resolutionLimits }),
    file: "services/gateway/src/ports.ts",
    declaration: "export interface GatewayLimits",
  },
  {
    title: "Asking for unknown agents",
    text: "Of a gateway with `unknownTargets: query`.",
    values: resolutionLimits,
    file: "core/forwarding/src/resolutions.ts",
    declaration: "export interface ResolutionLimits",
  },
  {
    title: "Mailboxes",
    text: "Of a gateway's [mailboxes](mailboxes.md); set and changed like the ones above.",
    values: mailboxLimits,
    file: "core/mailbox/src/limits.ts",
    declaration: "export interface MailboxLimits",
  },
  {
    title: "Record sync between gateways (AMSP)",
    text: "Of each gateway, and of a registry as the reader of one. Those of a gateway are set and changed like the ones above, with `sync.` before the name.",
    values: defaultSyncLimits,
    file: "core/sync/src/limits.ts",
    declaration: "export interface SyncLimits",
  },
  {
    title: "Registry",
    text: "`queriesPerMinute` stands under `registry` of the configuration, the others under `registry.limits`. All of them can be changed while it runs.",
    values: registryLimits,
    file: "services/registry/src/limits.ts",
    declaration: "export interface RegistryLimits",
  },
  {
    title: "Authority",
    text: "`authority.certificateLifetimeMs` of the configuration is `leafLifetimeMs`; the others stand under `authority.limits`. All but `rootLifetimeMs` and `crlRefreshMs` can be changed while it runs.",
    values: authorityLimits as unknown as Readonly<Record<string, unknown>>,
    file: "services/authority/src/config.ts",
    declaration: "export interface AuthorityLimits",
  },
  {
    title: "Agent: requests and answers",
    text: "Of one agent that uses the SDK.",
    values: exchangeLimits,
    file: "sdk/agent/src/exchange/limits.ts",
    declaration: "export const exchangeLimits",
  },
  {
    title: "Agent: messages under way",
    text: "Of one agent that uses the SDK.",
    values: sessionLimits,
    file: "core/session/src/limits.ts",
    declaration: "export interface SessionLimits",
  },
  {
    title: "Agent: streams and calls",
    text: "Of one agent that uses the SDK.",
    values: streamLimits,
    file: "core/session/src/stream-frames.ts",
    declaration: "export interface StreamLimits",
  },
  {
    title: "Direct links",
    text: "Of an agent, under `direct.limits` in the options of `connect`. Frames are bounded as on every link.",
    values: directLimits,
    file: "sdk/agent/src/direct/limits.ts",
    declaration: "export interface DirectLimits",
  },
];

/** What `values` has and `others` has not. */
function without(values: object, others: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => !(name in others)));
}

const schemaFile = "apps/cli/src/config/schema.json";

/** The schema of the configuration with the limits of a gateway, of the authority and of connections as they are now. */
export function schemaWithLimits(): string {
  const descriptions = new Map(
    sections.flatMap(({ file, declaration, title }) => {
      const prefix = prefixes.get(title) ?? "";
      return [...commentsOf(file, declaration)].map(([name, comment]): [string, string] => [
        `${prefix}${name}`,
        comment,
      ]);
    }),
  );
  const propertyOf = ([name, { min, max }]: [string, LimitRule], key = name): string => {
    const description = descriptions.get(name);
    const value = { type: "integer", minimum: min, maximum: max, ...(description && { description }) };
    return `${JSON.stringify(key)}: ${JSON.stringify(value, null, 2).replaceAll("\n", "\n        ")}`;
  };
  const ofConnections = Object.entries(connectionLimits.rules);
  const shortOf = (name: string): string => name.replace("connection.", "");
  const references = ofConnections.map(
    ([name]) => `"${name}": { "$ref": "#/definitions/connection/properties/${shortOf(name)}" }`,
  );
  const ofGateways = Object.entries(gatewayLimitRules).map((each) => propertyOf(each));
  // The lifetime of certificates has a place of its own.
  const ofAuthority = Object.entries(authorityLimitRules)
    .filter(([name]) => name !== "leafLifetimeMs")
    .map((each) => propertyOf(each));
  const made = new Map<string, (before: string) => readonly string[]>([
    ["connection", () => ofConnections.map((each) => propertyOf(each, shortOf(each[0])))],
    ["gatewayLimits", () => [...ofGateways, ...references]],
    ["registryLimits", (before) => [withoutReferences(before), ...references]],
    ["authorityLimits", () => [...ofAuthority, ...references]],
  ]);
  return [...made].reduce((text, [name, make]) => withProperties(text, name, make), readFileSync(schemaFile, "utf8"));
}

/** The schema with the properties of a definition made anew. */
function withProperties(text: string, definition: string, make: (before: string) => readonly string[]): string {
  const start = '"properties": {\n        ';
  const from = text.indexOf(start, text.indexOf(`\n    "${definition}": {`)) + start.length;
  const to = text.indexOf("\n      }\n", from);
  if (from < start.length || to < 0)
    throw new Error(`${schemaFile} has no ${definition} with properties; correct scripts/limits.ts`);
  return `${text.slice(0, from)}${make(text.slice(from, to)).join(",\n        ")}${text.slice(to)}`;
}

/** Properties without those that stand for limits of connections, which are last. */
const withoutReferences = (properties: string): string => properties.replace(/,\s*"connection\.[\s\S]*$/, "");

/** What limits of a section are called in the configuration, beside their name. */
const prefixes: ReadonlyMap<string, string> = new Map([
  ["Record sync between gateways (AMSP)", "sync."],
  ["Connections", "connection."],
]);

/** The page, made anew. */
export function limitsMarkdown(): string {
  return [
    "# Limits",
    "",
    "Every queue, table, size and rate is bounded. This page is made from the code by `npm run generate`. A limit that was reached answers with one of the codes of [the table](../reference/errors.md), mostly `CAUSEWAY_LIMIT_COUNT`, `CAUSEWAY_LIMIT_RATE` or `CAUSEWAY_FORWARDING_OVERLOADED`; how full each table is, [metrics](metrics.md) tell.",
    "",
    "Limits of running gateways, of the registry and of the authority are listed by `causeway limits` (`--changed`: only those that are not the default), with unit, bounds, who set them, and when a change counts: at once, for what begins after it (`for new`: leases, links, messages, sessions), so that nothing that was granted is taken back, or after a restart of the service (connections), which `set` refuses and a reload tells of. `causeway limits set NAME VALUE` changes one, `--gateway NAME`, `--registry` or `--authority` only there; services that do not answer are named, and the exit code is 1. A change is checked like the configuration, is in the log with who made it, and lasts until the next restart or reload: what is to stay is written to the configuration file. `causeway limits reload`, or SIGHUP to the process of a service that does not run in a terminal, takes over what the file says of limits now, in place of everything that was set before, and of the [forwarding policy](running.md) of gateways; a file that is wrong changes nothing. All else in the file counts at the next start.",
    "",
    ...sections.flatMap(sectionLines),
  ].join("\n");
}

function sectionLines({ title, text, values, file, declaration }: Section): string[] {
  const comments = commentsOf(file, declaration);
  const rows = Object.entries(values)
    .filter((entry): entry is [string, number] => typeof entry[1] === "number")
    .map(([name, value]) => `| \`${name}\` | ${valueText(name, value)} | ${comments.get(name) ?? ""} |`);
  return [`## ${title}`, "", text, "", "| name | default | what it bounds |", "|---|---|---|", ...rows, ""];
}

/** The comment directly above each member of a declaration. */
function commentsOf(file: string, declaration: string): ReadonlyMap<string, string> {
  const source = readFileSync(file, "utf8");
  const from = source.indexOf(declaration);
  if (from < 0) throw new Error(`${file} has no ${JSON.stringify(declaration)}; correct scripts/limits.ts`);
  const body = source.slice(from, source.indexOf("\n}", from));
  const members = body.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*(?:readonly )?(\w+)\??:/g);
  return new Map(
    Array.from(members, ([, comment = "", name = ""]) => [
      name,
      comment
        .replaceAll(/\s*\n\s*\*?\s*/g, " ")
        .replaceAll("|", "\\|")
        .trim(),
    ]),
  );
}

function valueText(name: string, value: number): string {
  const plain = value.toLocaleString("en", { maximumFractionDigits: 3 });
  const unit = name.includes("Bytes") ? bytesText(value) : /Ms(Min|Max)?$/.test(name) ? timeText(value) : "";
  return unit === "" ? plain : `${plain} (${unit})`;
}

function bytesText(value: number): string {
  if (value >= 1_048_576 && value % 1_048_576 === 0) return `${value / 1_048_576} MiB`;
  return value >= 1_024 && value % 1_024 === 0 ? `${value / 1_024} KiB` : "";
}

function timeText(value: number): string {
  const units = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
    ["s", 1_000],
  ] as const;
  const unit = units.find(([, ms]) => value >= ms && value % ms === 0);
  return unit === undefined ? "" : `${value / unit[1]} ${unit[0]}`;
}
