/** The configuration of one domain: read, checked against its schema, defaults filled in, cross-references resolved. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { ConnectionLimits } from "@causeway/adapter-h2";
import { refuse } from "@causeway/core-base";
import type { AuthorityLimits } from "@causeway/service-authority";
import type { AllGatewayLimits, GatewayConfig as GatewayServiceConfig } from "@causeway/service-gateway";
import type { RegistryLimits, RemoteGateway } from "@causeway/service-registry";
import { Ajv, type ErrorObject } from "ajv";
import { distance } from "fastest-levenshtein";
import { parseDocument } from "yaml";

type Policy = NonNullable<GatewayServiceConfig["policy"]>;

/** A service that listens. */
export interface ListenConfig {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly hosts: readonly string[];
}

export interface AuthorityConfig extends ListenConfig {
  readonly certificateLifetimeMs: number;
  /** Other bounds in place of the defaults. */
  readonly limits: Partial<AuthorityLimits & ConnectionLimits>;
}

export interface RegistryConfig extends ListenConfig {
  readonly gateway: string;
  readonly queriesPerMinute: number;
  readonly semantic: boolean;
  /** Which gateway agents are told for agents of other domains. */
  readonly remoteGateway: RemoteGateway;
  /** Other bounds in place of the defaults. */
  readonly limits: Partial<RegistryLimits & ConnectionLimits>;
}

export interface GatewayConfig extends ListenConfig {
  readonly name: string;
  readonly level: 1 | 2;
  readonly uri: string;
  /** URLs to dial. */
  readonly uplinks: readonly string[];
  readonly peers: readonly string[];
  /** `os`: what is stored survives the death of the process. `always`: the loss of power, too. */
  readonly mailboxSync: "os" | "always";
  /** Attachment models offered, the preferred one first; undefined: both. */
  readonly attachmentModels: readonly ("stateful" | "soft")[] | undefined;
  /** Channel bindings taken of agents; undefined: both. */
  readonly channelBindings: readonly ("tls-exporter" | "tls-server-end-point")[] | undefined;
  /** Where GW-DISCOVER is answered in datagrams; undefined: it is not. */
  readonly datagrams: { readonly host: string; readonly port: number } | undefined;
  /** Who may send to whom through it; the first rule that fits decides. */
  readonly policy: Policy;
  /** Messages to agents that are not known here: to the uplink at once, or after a query. */
  readonly unknownTargets: "default-route" | "query";
  /** Threads that do TCP and TLS; auto: as many as the machine has cores for. */
  readonly workers: number | "auto";
  /** Bounds in place of the defaults. */
  readonly limits: Partial<AllGatewayLimits & ConnectionLimits>;
}

export interface DomainConfig {
  readonly domain: string;
  /** Absolute. */
  readonly dataDir: string;
  /** Absolute, outside `dataDir`. */
  readonly masterKeyFile: string;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  /** What the domain prescribes for messages inside it; `prefer` leaves it to the agents. */
  readonly gatewayUse: "always" | "prefer" | "never";
  readonly authority: AuthorityConfig;
  readonly registry: RegistryConfig | undefined;
  readonly gateways: readonly GatewayConfig[];
}

interface RawListen {
  listen: string;
  url?: string;
  hosts?: string[];
}

interface RawDomain {
  domain: string;
  dataDir: string;
  masterKeyFile?: string;
  logLevel: DomainConfig["logLevel"];
  gatewayUse: DomainConfig["gatewayUse"];
  authority: RawListen & { certificateLifetimeMs: number; limits?: Partial<AuthorityLimits & ConnectionLimits> };
  registry?: RawListen & {
    gateway: string;
    queriesPerMinute: number;
    semantic: boolean;
    remoteGateway: RemoteGateway;
    limits?: Partial<RegistryLimits & ConnectionLimits>;
  };
  gateways: (RawListen & {
    name: string;
    level: 1 | 2;
    uri?: string;
    uplinks: string[];
    peers: string[];
    mailboxSync: "os" | "always";
    attachmentModels?: ("stateful" | "soft")[];
    channelBindings?: ("tls-exporter" | "tls-server-end-point")[];
    datagrams?: string;
    policy?: Policy;
    unknownTargets: "default-route" | "query";
    workers: number | "auto";
    limits?: Partial<AllGatewayLimits & ConnectionLimits>;
  })[];
}

/** Reads a YAML or JSON file. Throws `CAUSEWAY_CONFIG_INVALID` with the path of what is wrong and the nearest known key. */
export function readDomainConfig(file: string): DomainConfig {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `cannot read ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  return parseDomainConfig(text, file);
}

/** As `readDomainConfig`, from a text; `file` names it in errors and is what relative paths are relative to. */
export function parseDomainConfig(text: string, file: string): DomainConfig {
  const document = parseDocument(text, { prettyErrors: true });
  const problem = document.errors[0];
  if (problem) throw refuse("CAUSEWAY_CONFIG_INVALID", `${file}: ${problem.message}`);
  const raw: unknown = document.toJS({ maxAliasCount: 10 });
  const validate = validator();
  if (!validate(raw)) {
    const sentences = (validate.errors ?? []).slice(0, 5).map((error) => describe(error));
    throw refuse("CAUSEWAY_CONFIG_INVALID", `${file}: ${sentences.join("; ")}`);
  }
  return resolveConfig(raw, file);
}

/** The JSON Schema of the file, for editors. */
export function domainSchema(): Record<string, unknown> {
  return JSON.parse(readFileSync(new URL("./schema.json", import.meta.url), "utf8")) as Record<string, unknown>;
}

function validator() {
  return new Ajv({ allErrors: true, useDefaults: true, verbose: true }).compile<RawDomain>(domainSchema());
}

function describe(error: ErrorObject): string {
  const path = error.instancePath.replaceAll("/", ".").replace(/^\./, "") || "top level";
  if (error.keyword === "additionalProperties") {
    const key = String(error.params["additionalProperty"]);
    const known = Object.keys((error.parentSchema?.["properties"] as object | undefined) ?? {});
    const nearest = known.toSorted((a, b) => distance(a, key) - distance(b, key))[0];
    const hint =
      nearest !== undefined && distance(nearest, key) <= 3
        ? `; did you mean "${nearest}"?`
        : `; known are ${known.join(", ")}`;
    return `unknown key "${key}" at ${path}${hint}`;
  }
  if (error.keyword === "enum")
    return `${path} must be one of ${JSON.stringify(error.params["allowedValues"])}, got ${JSON.stringify(error.data)}`;
  return `${path} ${error.message ?? "is invalid"}${error.keyword === "required" ? "" : `, got ${JSON.stringify(error.data)}`}`;
}

function resolveConfig(raw: RawDomain, file: string): DomainConfig {
  const base = dirname(resolve(file));
  const dataDir = resolve(base, raw.dataDir);
  const masterKeyFile = raw.masterKeyFile === undefined ? defaultMasterKeyFile() : resolve(base, raw.masterKeyFile);
  if (masterKeyFile.startsWith(`${dataDir}/`)) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `${file}: masterKeyFile lies inside dataDir; a copy of the folder would give away every key`,
    );
  }
  const names = new Map(raw.gateways.map((gateway) => [gateway.name, urlOf(gateway)]));
  if (names.size !== raw.gateways.length)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `${file}: two gateways have the same name`);
  const dial = (target: string, where: string): string => {
    const url = target.startsWith("https://") ? target : names.get(target);
    if (url !== undefined) return url;
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `${file}: ${where} names "${target}", which is no gateway here (known: ${[...names.keys()].join(", ")}) and no https URL`,
    );
  };
  if (raw.registry && !names.has(raw.registry.gateway)) dial(raw.registry.gateway, "registry.gateway");
  return {
    domain: raw.domain,
    dataDir,
    masterKeyFile,
    logLevel: raw.logLevel,
    gatewayUse: raw.gatewayUse,
    authority: {
      ...listenOf(raw.authority),
      certificateLifetimeMs: raw.authority.certificateLifetimeMs,
      limits: raw.authority.limits ?? {},
    },
    registry: raw.registry && {
      ...listenOf(raw.registry),
      gateway: dial(raw.registry.gateway, "registry.gateway"),
      queriesPerMinute: raw.registry.queriesPerMinute,
      semantic: raw.registry.semantic,
      remoteGateway: raw.registry.remoteGateway,
      limits: raw.registry.limits ?? {},
    },
    gateways: raw.gateways.map((gateway, i) => ({
      ...listenOf(gateway),
      name: gateway.name,
      level: gateway.level,
      uri: gateway.uri ?? `https://${gateway.name}.${raw.domain}/amsp`,
      uplinks: gateway.uplinks.map((target) => dial(target, `gateways.${i}.uplinks`)),
      peers: gateway.peers.map((target) => dial(target, `gateways.${i}.peers`)),
      mailboxSync: gateway.mailboxSync,
      attachmentModels: gateway.attachmentModels,
      channelBindings: gateway.channelBindings,
      datagrams: gateway.datagrams === undefined ? undefined : addressOf(gateway.datagrams),
      policy: gateway.policy ?? [],
      unknownTargets: gateway.unknownTargets,
      workers: gateway.workers,
      limits: gateway.limits ?? {},
    })),
  };
}

function listenOf(raw: RawListen): ListenConfig {
  const url = urlOf(raw);
  return {
    ...addressOf(raw.listen),
    url,
    hosts: raw.hosts ?? [...new Set([new URL(url).hostname.replace(/^\[|\]$/g, ""), "localhost"])],
  };
}

function addressOf(text: string): { readonly host: string; readonly port: number } {
  const split = text.lastIndexOf(":");
  return { host: text.slice(0, split).replace(/^\[|\]$/g, ""), port: Number(text.slice(split + 1)) };
}

const urlOf = (raw: RawListen): string => raw.url ?? `https://${raw.listen}`;

function defaultMasterKeyFile(): string {
  return join(homedir(), ".config", "causeway", "master.key");
}
