import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CausewayError } from "@causeway/core-base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Supervisor, type SupervisorOptions } from "./supervisor.ts";

const program = fileURLToPath(new URL("./testing/child.ts", import.meta.url));
let directory = "";
let supervisor: Supervisor;
let ends: string[] = [];
let onEnd: () => void = () => undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "causeway-supervisor-"));
  ends = [];
});
afterEach(async () => {
  await supervisor.stop();
  rmSync(directory, { recursive: true, force: true });
});

function supervise(options: SupervisorOptions = {}): void {
  supervisor = new Supervisor({
    program,
    ...options,
    onNotice: (_service, description) => {
      ends.push(description);
      onEnd();
    },
  });
}

const start = (behaviour: string) =>
  supervisor.start({ name: `test/${behaviour}`, args: [behaviour], logFile: join(directory, `${behaviour}.log`) });

const nextEnd = () =>
  new Promise<void>((resolve) => {
    onEnd = resolve;
  });

async function failure(work: Promise<unknown>): Promise<CausewayError> {
  return await work.then(
    () => expect.fail("it started"),
    (thrown: unknown) => CausewayError.from(thrown),
  );
}

/** Waits for a change that comes with a child's next report. */
async function until(isTrue: () => boolean): Promise<void> {
  await expect.poll(isTrue, { timeout: 20_000, interval: 20 }).toBe(true);
}

test("a child that is killed is started again, and its successor is watched too", async () => {
  supervise();
  const service = await start("serve");
  const first = service.pid ?? 0;
  const ended = nextEnd();
  process.kill(first, "SIGKILL");
  await ended;
  expect(ends).toEqual(["test/serve ended with SIGKILL; it is started again"]);
  await until(() => service.restarts === 1 && service.pid !== undefined);
  expect(service.pid).not.toBe(first);
});

test("a child that ended as it was asked to stays down", async () => {
  supervise();
  const ended = nextEnd();
  const service = await start("drain");
  await ended;
  expect(ends[0]).toBe("test/drain ended with code 0 as it was asked to; it stays down");
  expect(service.restarts).toBe(0);
});

test("a refused start is told with the child's own code and sentence", async () => {
  supervise();
  const error = await failure(start("refuse"));
  expect(error.code).toBe("CAUSEWAY_PORT_IN_USE");
  expect(error.message).toBe("test/refuse: port 1 of 127.0.0.1 is in use");
  expect(ends).toEqual([]);
});

test("a child that breaks before it serves is told with its exit code and last words", async () => {
  supervise();
  const error = await failure(start("fail"));
  expect(error.code).toBe("CAUSEWAY_UNREACHABLE");
  expect(error.message).toBe("test/fail ended with code 7 before it served: last words");
});

test("what is said on a child's output after its end is in its log", async () => {
  supervise();
  const ended = nextEnd();
  await start("heirs");
  await ended;
  const log = (): string => readFileSync(join(directory, "heirs.log"), "utf8");
  await until(() => log() === "before\nafter\n");
});

test("a child whose log cannot be written serves, and that is told once", async () => {
  supervise();
  mkdirSync(join(directory, "talk.log"));
  const service = await start("talk");
  await until(() => ends.length > 0);
  expect(ends).toEqual([expect.stringMatching(/^cannot write the log of test\/talk, .*talk\.log: EISDIR/)]);
  expect(() => process.kill(service.pid ?? 0, 0)).not.toThrow();
});

test("a child that never serves is ended at its deadline", async () => {
  supervise({ readyMs: 300 });
  const error = await failure(start("silent"));
  expect(error.code).toBe("CAUSEWAY_TIMEOUT");
  expect(error.message).toContain("did not serve within 300 ms; see");
  await until(() => supervisor.services.every(({ pid }) => pid === undefined));
});

test("stopping ends every child, says nothing of it, and starts no further one", async () => {
  supervise();
  const service = await start("serve");
  const pid = service.pid ?? 0;
  await supervisor.stop();
  expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  expect(ends).toEqual([]);
  expect((await failure(start("serve"))).code).toBe("CAUSEWAY_MISUSE");
});
