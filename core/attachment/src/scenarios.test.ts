import { testScenarios } from "@causeway/core-base/testing/scenario";
import { World } from "./fixtures/world.ts";

testScenarios(new URL("../scenarios/", import.meta.url), () => new World());
