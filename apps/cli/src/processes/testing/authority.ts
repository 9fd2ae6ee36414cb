import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { silentLog } from "@causeway/core-base";
import { Home } from "../../home.ts";
import { startAuthority } from "../authority.ts";
import { freePorts } from "../free-ports.ts";

/** A running authority of blue.example in a home of its own, which goes with it. */
export interface OwnAuthority {
  readonly home: Home;
  /** Ends it, and leaves the home. */
  stopServing(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it in this process. */
export async function startOwnAuthority(): Promise<OwnAuthority> {
  const home = new Home(mkdtempSync(join(tmpdir(), "causeway-authority-")));
  const [port] = await freePorts(1);
  const file = home.configFile("blue.example");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(
    file,
    `domain: blue.example\nmasterKeyFile: ${JSON.stringify(home.masterKeyFile)}\nauthority: { listen: "127.0.0.1:${port}" }\n`,
  );
  const authority = await startAuthority(home.config({}), silentLog);
  let stopped: Promise<void> | undefined;
  const stopServing = (): Promise<void> => (stopped ??= authority.stop());
  return {
    home,
    stopServing,
    stop: async () => {
      await stopServing();
      rmSync(home.directory, { recursive: true, force: true });
    },
  };
}
