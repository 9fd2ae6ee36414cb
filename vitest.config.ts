import { defineConfig } from "vitest/config";

/** Tests that start processes or play many seeds; they get the machine for themselves, after the others. */
const heavy = ["testing/e2e/src/**/*.test.ts", "testing/sim/src/**/*.test.ts"];

/** Forwarding, whatever its agents' attachments: done once more with soft-state ones, where a test does not say (AAP-93). */
const forwarding = [
  "services/gateway/src/{blindness,classes,delivery,departure,duplicates,mail-order,mailbox,overlay}.test.ts",
  "services/gateway/src/{policy,resolver,slow-subscribers,target-limits}.test.ts",
];

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // What is waited for comes when it comes; no test is about a time.
    expect: { poll: { timeout: 30_000 } },
    pool: "forks",
    projects: [
      {
        extends: true,
        test: {
          name: "rooms",
          include: [
            "{core,adapters,services,sdk,bridges,apps,examples,testing}/*/src/**/*.test.ts",
            "e2ee/src/**/*.test.ts",
            "scripts/**/*.test.ts",
          ],
          exclude: heavy,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "soft",
          include: forwarding,
          provide: { attachmentModel: "soft" },
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "processes",
          include: heavy,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
