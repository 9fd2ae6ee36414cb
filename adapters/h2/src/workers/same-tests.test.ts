/** What holds of a port holds of one with IO workers: the same suites, over ports with two of them. */
import { afterAll, describe } from "vitest";
import { startPortsWith } from "../testing/world.ts";

startPortsWith(2);
afterAll(() => startPortsWith(0));

describe("with IO workers: links", () => import("../link.test.ts"));
describe("with IO workers: ports", () => import("../port.test.ts"));
describe("with IO workers: connections for one link", () => import("../only-link.test.ts"));
describe("with IO workers: bad input", () => import("../bad-input.test.ts"));
describe("with IO workers: stock clients", () => import("../stock-clients.test.ts"));
describe("with IO workers: reflection", () => import("../reflection.test.ts"));
describe("with IO workers: keepalive", () => import("../keepalive.test.ts"));
describe("with IO workers: stopping", () => import("../stopping.test.ts"));
