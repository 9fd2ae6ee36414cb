import { afterAll, beforeAll, describe } from "vitest";
import { Scene } from "./adversary/scene.ts";
import { presentBadCertificates } from "./bad-input/certificates.ts";
import { lieAsNeighbour } from "./bad-input/peering.ts";
import { scanPorts } from "./bad-input/ports.ts";
import { sendBadRecords } from "./bad-input/records.ts";
import { takePorts } from "./bad-input/taken-ports.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start();
}, 120_000);

afterAll(() => scene?.[Symbol.asyncDispose]());

describe("bad input of people and machines that are not what they say: each attack is blocked and logged [ANA-46]", () => {
  describe("certificates", () => {
    presentBadCertificates(() => scene);
  });
  describe("records", () => {
    sendBadRecords(() => scene);
  });
  describe("neighbours", () => {
    lieAsNeighbour(() => scene);
  });
  describe("taken ports", () => {
    takePorts(() => scene);
  });
  // Last: what a scanner causes in the logs uses up their bound for a while.
  describe("ports", () => {
    scanPorts(() => scene);
  });
});
