import type { Log } from "@causeway/core-base";
import type { SyncEvent } from "@causeway/core-sync";
import type { BoundedLog } from "./bounded-log.ts";

/** Writes what the sync machine wants an operator to know. What a peer can cause at will is bounded. */
export function logSyncEvent(event: SyncEvent, log: Log, security: BoundedLog): void {
  switch (event.name) {
    case "sync.peer_changed":
      log.info(event.name, { peer: event.peer, from: event.from, to: event.to, reason: event.reason });
      return;
    case "sync.peer_refused":
    case "sync.update_refused":
    case "sync.subscription_refused":
      security.warn(event.name, { peer: event.peer, code: event.error.code, reason: event.error.message });
      return;
    case "sync.loop_discarded":
      log.debug(event.name, { peer: event.peer, agentId: event.agentId });
      return;
    case "sync.notified":
      security.warn(event.name, { peer: event.peer, code: event.code, reason: event.message });
      return;
    case "sync.view_mismatch":
      security.warn(event.name, { peer: event.peer });
      return;
    case "sync.epoch_raised":
      log.warn(event.name, { epoch: event.epoch, reason: event.reason });
      return;
    case "sync.status_damped":
      log.info(event.name, { agentId: event.agentId, origin: event.origin });
      return;
  }
}
