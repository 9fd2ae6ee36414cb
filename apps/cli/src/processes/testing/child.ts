/** A child for tests of the supervisor: `serve`, `fail`, `refuse`, `silent`, `drain`, `heirs`, `talk`. Ends with its supervisor. */
import { spawn } from "node:child_process";
import type { ChildReport } from "../supervisor.ts";

const report = (value: ChildReport): unknown => process.send?.(value);
process.once("disconnect", () => process.exit(0));
process.once("SIGTERM", () => process.exit(0));

switch (process.argv[2]) {
  case "serve":
    report({ ready: true, url: "https://127.0.0.1:1" });
    break;
  case "drain":
    report({ ready: true, url: "https://127.0.0.1:1" });
    report({ ended: true });
    process.disconnect();
    break;
  case "heirs":
    process.stdout.write("before\n");
    spawn(process.execPath, ["-e", "setTimeout(() => console.log('after'), 500)"], { stdio: "inherit" }).unref();
    report({ ready: true, url: "https://127.0.0.1:1" });
    report({ ended: true });
    process.disconnect();
    break;
  case "talk":
    report({ ready: true, url: "https://127.0.0.1:1" });
    setInterval(() => process.stdout.write("more\n"), 10);
    break;
  case "refuse":
    report({ failed: { code: "CAUSEWAY_PORT_IN_USE", message: "port 1 of 127.0.0.1 is in use" } });
    process.exitCode = 1;
    process.disconnect();
    break;
  case "fail":
    process.stderr.write("first words\nlast words\n");
    process.exit(7);
    break;
  default:
    break;
}
