/** Tells the application what happens to its agent. */
import type { AgentEvent } from "./api.ts";

export class Events {
  readonly #listeners = new Set<(event: AgentEvent) => void>();

  add(listener: (event: AgentEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(event: AgentEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch {
        // A listener that fails is the application's own matter and must not stop the agent.
      }
    }
  }
}
