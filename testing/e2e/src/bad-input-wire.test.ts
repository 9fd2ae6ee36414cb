import { afterAll, beforeAll, describe } from "vitest";
import { Scene } from "./adversary/scene.ts";
import { attachAsSomebodyElse } from "./bad-input/attachment.ts";
import { flood } from "./bad-input/floods.ts";
import { sendBadFrames } from "./bad-input/frames.ts";

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.start();
}, 120_000);

afterAll(() => scene?.[Symbol.asyncDispose]());

describe("bad input on the wire", () => {
  describe("frames", () => {
    sendBadFrames(() => scene);
  });
  describe("attachment and messages", () => {
    attachAsSomebodyElse(() => scene);
  });
  describe("floods", () => {
    flood(() => scene);
  });
});
