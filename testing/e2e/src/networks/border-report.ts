/** What the lab of two domains saw. */

/** What the agents of blue.example came to, all of it with agents of green.example. */
export interface Story {
  /** Who was found by what it can do. */
  readonly found: string;
  readonly answer: string;
  /** Of the request that got this answer. */
  readonly messageId: string;
  /** Parts of an answer that came one by one. */
  readonly parts: readonly string[];
  readonly a2a: boolean;
  /** Domains in which a publication was heard. */
  readonly heardIn: readonly string[];
  /** For each level of acknowledgement that was asked for, what was reached. */
  readonly acknowledged: Readonly<Record<string, string>>;
  /** Bytes that came back on a stream, and whether they were the ones sent. */
  readonly streamed: { readonly bytes: number; readonly isSame: boolean };
  /** What was stored for an agent that was away, as it has told after it came back. */
  readonly mail: readonly string[];
  /** Attempts to reach the other domain past the gateways, and what each got. */
  readonly pastTheGateways: Readonly<Record<string, string>>;
  /** Ports that the machine of these agents listens on, the loopback interface apart. */
  readonly listening: readonly string[];
}

export interface BorderReport {
  readonly story: Story;
  /** Gateways that had the first request, in the order of its way. */
  readonly way: readonly string[];
  /** TCP connections that the border let pass: from, to, port. */
  readonly crossed: readonly string[];
  /** Those that it refused. */
  readonly refused: readonly string[];
  /** Connections that came from outside to machines of agents, and those that their routers refused to let in. */
  readonly knocked: readonly string[];
  /** Ports that the machine of the agents of green.example listens on, the loopback interface apart. */
  readonly listening: readonly string[];
  /** As which the gateways see agents: where the connections of the attached come from. */
  readonly seenFrom: Readonly<Record<string, readonly string[]>>;
}
