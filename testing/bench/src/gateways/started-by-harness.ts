/** Runs `start` with the settings that the harness sends, and answers with what it resolves to. */
export function startedByHarness(start: (settings: Readonly<Record<string, unknown>>) => Promise<object>): void {
  process.once("message", (message) => {
    // Without a listener the channel would not keep the process alive.
    process.channel?.ref();
    start(message as Readonly<Record<string, unknown>>).then(
      (answer) => process.send?.(answer),
      (thrown: unknown) =>
        process.send?.({ failed: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) }),
    );
  });
  // The harness is gone: so is the reason to run.
  process.on("disconnect", () => process.exit());
}
