import type { AgentId, StoredMail } from "@causeway/core-base";

/** Which messages a command is about; everything when nothing is set. */
export interface MailFilter {
  readonly agentId?: AgentId;
  readonly id?: string;
}

export const matches = (mail: StoredMail, filter: MailFilter): boolean =>
  (filter.agentId === undefined || mail.agentId === filter.agentId) &&
  (filter.id === undefined || mail.id === filter.id);
