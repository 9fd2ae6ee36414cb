/**
 * Programs of Debian for tests with real parts. What the machine has is used; what it lacks is fetched once with its own
 * apt, with everything that it needs, and unpacked under .cache: nothing is installed, and no root is needed for it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface DebianNeed {
  /** Names the folder. */
  readonly name: string;
  readonly packages: readonly string[];
  /** A command that ends well where everything is there. */
  readonly check: readonly [string, ...string[]];
}

/** The environment in which the programs run, or why there is none. */
export type DebianTools = { readonly env: NodeJS.ProcessEnv } | { readonly missing: string };

const cache = fileURLToPath(new URL("../../../.cache/debian/", import.meta.url));

/** Makes the programs available. Never throws: a test that cannot have them is skipped with the reason. */
export function debianTools(need: DebianNeed): DebianTools {
  const works = (env: NodeJS.ProcessEnv): boolean =>
    spawnSync(need.check[0], need.check.slice(1), { env, stdio: "ignore" }).status === 0;
  const own = { ...process.env, PATH: `/usr/sbin:/usr/bin:/sbin:/bin:${process.env["PATH"]}` };
  if (works(own)) return { env: own };
  const root = join(cache, need.name);
  const stamp = join(root, "packages");
  const wanted = need.packages.join(" ");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
    const problem = fetchPackages(need.packages, root);
    if (problem !== undefined) return { missing: problem };
    writeFileSync(stamp, wanted);
  }
  const env = environmentOf(root);
  if (works(env)) return { env };
  return { missing: `${need.packages.join(", ")} do not run here (tried: ${need.check.join(" ")})` };
}

function fetchPackages(packages: readonly string[], root: string): string | undefined {
  rmSync(root, { recursive: true, force: true });
  const archives = join(root, "archives");
  mkdirSync(join(archives, "partial"), { recursive: true });
  const apt = (...words: readonly string[]) =>
    spawnSync(
      "apt-get",
      ["-qq", "-y", "-o", "Debug::NoLocking=true", "-o", `Dir::Cache::archives=${archives}`, ...words],
      {
        encoding: "utf8",
        env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
      },
    );
  const download = () => apt("install", "--download-only", "--no-install-recommends", ...packages);
  let result = download();
  if (result.error) return `apt-get is not here to fetch ${packages.join(", ")}`;
  // A machine whose lists are empty or old knows no such package, or an address that is gone.
  if (result.status !== 0 && apt("update").status === 0) result = download();
  if (result.status !== 0)
    return `apt-get could not fetch ${packages.join(", ")}: ${result.stderr.trim().slice(0, 200)}`;
  const files = readdirSync(archives).filter((file) => file.endsWith(".deb"));
  for (const file of files) {
    const unpacked = spawnSync("dpkg-deb", ["-x", join(archives, file), root], { encoding: "utf8" });
    if (unpacked.status !== 0) return `dpkg-deb could not unpack ${file}: ${unpacked.stderr.trim().slice(0, 200)}`;
  }
  rmSync(archives, { recursive: true, force: true });
  return undefined;
}

function environmentOf(root: string): NodeJS.ProcessEnv {
  const libraries = ["usr/lib", "lib"].flatMap((folder) => {
    const path = join(root, folder);
    if (!existsSync(path)) return [];
    const triplets = readdirSync(path).filter((name) => name.endsWith("-linux-gnu"));
    return [path, ...triplets.map((name) => join(path, name))];
  });
  const programs = ["usr/sbin", "usr/bin", "sbin", "bin"].map((folder) => join(root, folder));
  return {
    ...process.env,
    PATH: [...programs, "/usr/sbin", "/usr/bin", "/sbin", "/bin"].join(":"),
    LD_LIBRARY_PATH: libraries.join(":"),
    PYTHONPATH: join(root, "usr/lib/python3/dist-packages"),
  };
}
