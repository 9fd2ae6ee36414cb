/** Names one live link (attachment or peer) inside a gateway process. Numbers are never reused within a process. */
declare const kind: unique symbol;

/** Number of a live link. */
export type LinkId = number & { readonly [kind]: "LinkId" };

/** Marks a number as the number of a link. */
export const asLinkId = (n: number): LinkId => n as LinkId;
