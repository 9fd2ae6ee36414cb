/** Where the program keeps things: one folder with a configuration and data for each domain, and agents of the CLI. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { refuse } from "@causeway/core-base";
import { type DomainConfig, readDomainConfig } from "./config/domain.ts";

/** How a command says which domain it means. */
export interface DomainChoice {
  /** A configuration outside of the home. */
  readonly config?: string;
  readonly domain?: string;
}

export class Home {
  /** Absolute. */
  readonly directory: string;

  constructor(directory: string | undefined) {
    this.directory = resolve(directory ?? process.env["CAUSEWAY_HOME"] ?? ".causeway");
  }

  /** The configuration file of a domain. */
  configFile(domain: string): string {
    return join(this.directory, "domains", domain, "causeway.yaml");
  }

  /** The key that wraps private keys; outside every data folder. */
  get masterKeyFile(): string {
    return join(this.directory, "keys", "master.key");
  }

  /** Keys and state of an agent that runs from this home. */
  agentDirectory(shortName: string): string {
    return join(this.directory, "agents", ...shortName.split("/"));
  }

  /** Sealed keys of a monitoring system of a domain. */
  monitorDirectory(domain: string, name: string): string {
    return join(this.directory, "monitors", domain, name);
  }

  logFile(name: string): string {
    return join(this.directory, "logs", `${name.replaceAll("/", "-")}.log`);
  }

  domains(): string[] {
    const folder = join(this.directory, "domains");
    return existsSync(folder) ? readdirSync(folder).filter((name) => existsSync(this.configFile(name))) : [];
  }

  /**
   * The configuration to work with: the file or domain named, else the domain of the agent that the command is about,
   * else the only one. Throws `CAUSEWAY_CONFIG_INVALID` when that leaves none or several.
   */
  config(choice: DomainChoice, agentName?: string): DomainConfig {
    if (choice.config !== undefined) return configOfFile(choice.config, choice.domain);
    const domain = this.#domainOf(choice, agentName);
    return readDomainConfig(this.configFile(domain));
  }

  ensure(): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
  }

  #domainOf(choice: DomainChoice, agentName: string | undefined): string {
    const known = this.domains();
    const named = choice.domain ?? process.env["CAUSEWAY_DOMAIN"];
    if (known.length === 0) {
      throw refuse(
        "CAUSEWAY_CONFIG_INVALID",
        `no domain is set up in ${this.directory}: start one with "causeway demo" or "causeway up --domain blue.example", or name a file with --config`,
      );
    }
    if (named !== undefined && !known.includes(named)) {
      throw refuse(
        "CAUSEWAY_CONFIG_INVALID",
        `the domain ${named} is not set up in ${this.directory} (known: ${known.join(", ")})`,
      );
    }
    const [first, ...others] = known;
    const ofAgent = agentName === undefined ? undefined : domainIn(agentName);
    const domain = named ?? known.find((each) => each === ofAgent) ?? (others.length === 0 ? first : undefined);
    if (domain !== undefined) return domain;
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `several domains are set up in ${this.directory}${ofAgent === undefined ? "" : ` and none is ${ofAgent}`}; choose one with --domain: ${known.join(", ")}`,
    );
  }
}

function configOfFile(file: string, domain: string | undefined): DomainConfig {
  const config = readDomainConfig(file);
  if (domain === undefined || domain === config.domain) return config;
  throw refuse(
    "CAUSEWAY_CONFIG_INVALID",
    `expected the configuration of ${domain} (--domain) in ${file}, got that of ${config.domain}; leave out one of the two`,
  );
}

/** The domain part of `domain/namespace/name` or of the full SPIFFE ID; not checked, only compared. */
function domainIn(agentName: string): string | undefined {
  return agentName.replace(/^spiffe:\/\//, "").split("/")[0];
}
