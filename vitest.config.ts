import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{core,adapters,services,sdk,bridges,apps,examples,testing}/*/src/**/*.test.ts", "e2ee/src/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: "forks",
  },
});
