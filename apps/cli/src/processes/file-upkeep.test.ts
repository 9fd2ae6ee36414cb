import { asInstant, asUnixMs, defaults, type Scheduler, silentLog } from "@causeway/core-base";
import { expect, test } from "vitest";
import { FileUpkeep } from "./file-upkeep.ts";

/** Writes that succeed or fail as told, and the clock of their repetitions. */
function world() {
  let now = 0;
  const timers = new Set<{ readonly at: number; readonly run: () => void }>();
  const scheduler: Scheduler = {
    now: () => ({ instant: asInstant(now), unix: asUnixMs(now) }),
    at(when, run) {
      const timer = { at: when, run };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
  };
  const disk = { isFull: false, written: [] as string[], tries: 0, content: "first" };
  const write = async (): Promise<void> => {
    disk.tries++;
    const { content } = disk;
    await Promise.resolve();
    if (disk.isFull) throw new Error("no space left");
    disk.written.push(content);
  };
  const listeners = new Set<() => void>();
  const onChange = (listener: () => void) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
  const upkeep = new FileUpkeep({ write, onChange, scheduler, log: silentLog, directory: "etc" });
  const change = (content: string): void => {
    disk.content = content;
    for (const listener of listeners) listener();
  };
  const wake = async (): Promise<number> => {
    const [timer] = timers;
    if (timer === undefined) throw new Error("nothing is to be repeated");
    const pausedMs = timer.at - now;
    now = timer.at;
    timers.delete(timer);
    timer.run();
    await upkeep.latest.catch(() => undefined);
    return pausedMs;
  };
  return { disk, timers, upkeep, change, wake };
}

test("a write that fails rejects, and is repeated with growing pauses until one succeeds", async () => {
  const { disk, timers, upkeep, wake } = world();
  await upkeep.renew();
  disk.isFull = true;
  disk.content = "renewed";
  await expect(upkeep.renew()).rejects.toThrow("no space left");
  const pauses: number[] = [];
  for (let i = 0; i < 8; i++) pauses.push(await wake());
  expect(pauses.slice(0, 3)).toEqual([1, 2, 4].map((times) => times * defaults.reconnectMsMin));
  expect(pauses.at(-1)).toBe(defaults.reconnectMsMax);
  await expect(upkeep.latest).rejects.toThrow("no space left");
  disk.isFull = false;
  await wake();
  await upkeep.latest;
  expect(disk.written).toEqual(["first", "renewed"]);
  expect(timers.size).toBe(0);
});

test("a write in between takes the place of the repetition, and the pauses begin anew after a success", async () => {
  const { disk, timers, upkeep, wake } = world();
  disk.isFull = true;
  await expect(upkeep.renew()).rejects.toThrow();
  await wake();
  disk.isFull = false;
  await upkeep.renew();
  expect(timers.size).toBe(0);
  disk.isFull = true;
  await expect(upkeep.renew()).rejects.toThrow();
  expect(await wake()).toBe(defaults.reconnectMsMin);
});

test("a change while the first write is under way is written after it, and none after the end", async () => {
  const { disk, upkeep, change } = world();
  const first = upkeep.renew();
  await Promise.resolve();
  change("renewed");
  await first;
  expect(disk.written).toEqual(["first"]);
  await upkeep.latest;
  expect(disk.written).toEqual(["first", "renewed"]);
  await upkeep.stop();
  change("too late");
  await upkeep.latest;
  expect(disk.written).toEqual(["first", "renewed"]);
});

test("writes do not overlap, and a stopped one repeats nothing", async () => {
  const { disk, timers, upkeep } = world();
  const both = [upkeep.renew(), upkeep.renew()];
  disk.content = "second";
  await Promise.all(both);
  expect(disk.written).toEqual(["second", "second"]);
  disk.isFull = true;
  const failing = upkeep.renew();
  await upkeep.stop();
  await expect(failing).rejects.toThrow();
  expect(timers.size).toBe(0);
  expect(disk.tries).toBe(3);
});
