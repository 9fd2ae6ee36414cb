import { testScenarios } from "@causeway/core-base/testing/scenario";
import { Script } from "./fixtures/script.ts";

testScenarios(new URL("../scenarios/", import.meta.url), () => new Script());
