/** Worlds that can be asked for by name; nothing of the core is loaded to know them. */

/** Drawn by the seed; `sync`: gateways announce records by themselves; `agents`: agents attach, move, send and publish. */
export const drawnWorlds = ["sync", "agents"] as const;
/** Made for one kind of trouble each. */
export const directedWorlds = [
  "restricted",
  "wishes",
  "reconnects",
  "rings",
  "stalls",
  "mail",
  "moves",
  "streams",
  "instances",
  "edges",
] as const;
/** Of these: mailboxes, reliable messages and streams. Seeds that draw their world draw these, too. */
export const mailWorlds = ["mail", "moves", "streams", "instances", "edges"] as const;
export const worldNames = [...drawnWorlds, ...directedWorlds] as const;

export type WorldKind = (typeof drawnWorlds)[number];
export type DirectedWorld = (typeof directedWorlds)[number];
export type WorldName = (typeof worldNames)[number];
