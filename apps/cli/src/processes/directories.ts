/** Where the services of a domain keep their state. */
import { join } from "node:path";
import type { DomainConfig } from "../config/domain.ts";

export const authorityDirectory = (config: DomainConfig): string => join(config.dataDir, "authority");
export const registryDirectory = (config: DomainConfig): string => join(config.dataDir, "registry");
export const gatewayDirectory = (config: DomainConfig, name: string): string => join(config.dataDir, "gateways", name);
/** Of the first operator's identity. */
export const operatorDirectory = (config: DomainConfig): string => join(config.dataDir, "operator");
