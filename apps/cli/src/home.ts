/** Where the program keeps things: one folder with a configuration and data for each domain, and agents of the CLI. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { refuse } from "@causeway/core-base";
import { type DomainConfig, readDomainConfig } from "./config/domain.ts";

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

  logFile(name: string): string {
    return join(this.directory, "logs", `${name.replaceAll("/", "-")}.log`);
  }

  domains(): string[] {
    const folder = join(this.directory, "domains");
    return existsSync(folder) ? readdirSync(folder).filter((name) => existsSync(this.configFile(name))) : [];
  }

  /** The configuration to work with: the one named, or the only one. */
  config(choice: { readonly config?: string; readonly domain?: string }): DomainConfig {
    if (choice.config !== undefined) return readDomainConfig(choice.config);
    const known = this.domains();
    const domain = choice.domain ?? process.env["CAUSEWAY_DOMAIN"] ?? known[0];
    if (domain === undefined) {
      throw refuse(
        "CAUSEWAY_CONFIG_INVALID",
        `no domain is set up in ${this.directory}: start one with "causeway demo" or "causeway up --domain blue.example", or name a file with --config`,
      );
    }
    if (!known.includes(domain)) {
      throw refuse(
        "CAUSEWAY_CONFIG_INVALID",
        `the domain ${domain} is not set up in ${this.directory} (known: ${known.join(", ") || "none"})`,
      );
    }
    return readDomainConfig(this.configFile(domain));
  }

  ensure(): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
  }
}
