import { testScenarios } from "@causeway/core-base/testing/scenario";
import { Network } from "./fixtures/network.ts";

testScenarios(new URL("../scenarios/", import.meta.url), () => new Network());
