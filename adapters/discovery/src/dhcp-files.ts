/** What DHCP clients of this machine have stored. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type BootstrapHint, dhcpFileLengthMax, findDhcpOption, readDhcpOption } from "@causeway/core-attachment";
import { assigned, refuse } from "@causeway/core-base";

/** Where the common clients keep their leases; the last one is for scripts of udhcpc and dhcpcd. */
export const dhcpFilesDefault: readonly string[] = [
  "/var/lib/dhcp/dhclient*",
  "/var/lib/dhclient/*",
  "/run/systemd/netif/leases/*",
  "/var/lib/NetworkManager/*.lease",
  "/run/causeway/dhcp*",
];

export interface DhcpFilesOptions {
  /** Paths; `*` stands for any part of the last segment. */
  readonly files?: readonly string[];
  /** 1 to 254. Default 224. */
  readonly option?: number;
  readonly port?: number;
}

/** Gateways in the option of the files, those of the newest file first. A file that cannot be read is as if it were not there. */
export async function gatewaysInDhcpFiles(options: DhcpFilesOptions): Promise<readonly BootstrapHint[]> {
  const { files = dhcpFilesDefault, option = assigned.dhcpOption, port } = options;
  if (!Number.isInteger(option) || option < 1 || option > 254)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected a DHCP option of 1 to 254, got ${option}`);
  const paths = (await Promise.all(files.map(expand))).flat().slice(0, filesMax);
  const found = await Promise.all(
    paths.map(async (path) => {
      try {
        const { mtimeMs, size } = await stat(path);
        if (size > dhcpFileLengthMax) return [];
        const value = findDhcpOption(await readFile(path, "latin1"), option);
        return value === undefined ? [] : [{ mtimeMs, endpoints: readDhcpOption(value, port) }];
      } catch {
        // Leases come and go, and others' may be unreadable: what is there counts.
        return [];
      }
    }),
  );
  return found
    .flat()
    .toSorted((a, b) => b.mtimeMs - a.mtimeMs)
    .flatMap(({ endpoints }) => endpoints)
    .map((endpoint) => ({ method: "dhcp", endpoint, discover: true }));
}

async function expand(pattern: string): Promise<readonly string[]> {
  const folder = dirname(pattern);
  const last = basename(pattern);
  if (!last.includes("*")) return [pattern];
  const parts = last.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  const matcher = new RegExp(`^${parts.join(".*")}$`);
  try {
    const names = await readdir(folder);
    return names.filter((name) => matcher.test(name)).map((name) => join(folder, name));
  } catch {
    // No such client on this machine.
    return [];
  }
}

const filesMax = 64;
