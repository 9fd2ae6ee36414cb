/** What holds of a port holds of one with IO workers: the same suites, over ports with two of them. */
import { afterAll, describe } from "vitest";
import { startPortsWith } from "../testing/world.ts";

startPortsWith(2);
afterAll(() => startPortsWith(0));

describe("with IO workers: links", async () => void (await import("../link.test.ts")));
describe("with IO workers: ports", async () => void (await import("../port.test.ts")));
describe("with IO workers: connections for one link", async () => void (await import("../only-link.test.ts")));
describe("with IO workers: handshake floods", async () => void (await import("../handshake-flood.test.ts")));
describe("with IO workers: bad input", async () => void (await import("../bad-input.test.ts")));
describe("with IO workers: stock clients", async () => void (await import("../stock-clients.test.ts")));
describe("with IO workers: reflection", async () => void (await import("../reflection.test.ts")));
describe("with IO workers: keepalive", async () => void (await import("../keepalive.test.ts")));
describe("with IO workers: stopping", async () => void (await import("../stopping.test.ts")));
