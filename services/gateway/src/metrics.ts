/** What a gateway counts and holds, in the text format that Prometheus reads (AAP-103). */
import { type MetricFamily, openMetricsText, processFamilies, tableFamilies } from "@causeway/core-base";
import { type GatewayTables, gatewayTables } from "./gateway-tables.ts";
import type { GatewayDeps } from "./ports.ts";
import { workerFamilies } from "./worker-connections.ts";

/** Counters that are there from the start. */
export const gatewayCounters: Readonly<Record<string, string>> = {
  messages_in: "Messages and control frames that came in.",
  delivered: "Handed to agents attached here.",
  relayed: "Sent on to neighbour gateways.",
  policy_denied: "Refused because a rule of the forwarding policy denies them.",
  held: "Kept in memory for an agent that is away.",
  attached: "Attachments granted.",
  control_served: "Requests that this gateway answered for an agent of its own.",
  mailbox_stored: "Messages stored on the disk for an agent.",
  mailbox_delivered: "Stored messages handed to their agent, each repetition counted.",
  mailbox_acknowledged: "Stored messages that their agent has settled.",
  mailbox_unacknowledged: "Stored messages forgotten when they were handed to an agent that does not acknowledge.",
  mailbox_handed_over: "Stored messages that another gateway of the domain has taken.",
  mailbox_purged: "Stored messages that an operator deleted.",
  mailbox_dead_letters: "Stored messages that were given up.",
  topic_copies_dropped: "Publications left out because a subscriber reads too slowly.",
  route_queries: "Unknown agents that were asked for.",
  route_queries_refused: "Of these, those that nobody knew or nobody answered for.",
  answers_undeliverable: "Reports and answers that had no way back.",
  peer_links_up: "Links to neighbours that came up.",
  peer_links_down: "Links to neighbours that were lost.",
};

/** Counters with one value for each of something: the beginning of the name that is counted, family and label. */
export const gatewayCounterFamilies: readonly {
  readonly prefix: string;
  readonly name: string;
  readonly label: string;
  readonly help: string;
}[] = [
  {
    prefix: "frames_refused_",
    name: "causeway_gateway_frames_refused_total",
    label: "code",
    help: "Frames that were no message of the protocol, or out of place, by error code.",
  },
  {
    prefix: "refused_",
    name: "causeway_gateway_refused_total",
    label: "code",
    help: "Messages refused, by error code; limit_rate is over a rate limit.",
  },
  {
    prefix: "topic_",
    name: "causeway_gateway_publications_total",
    label: "outcome",
    help: "Publications by what became of them.",
  },
  { prefix: "sync_", name: "causeway_sync_events_total", label: "event", help: "Events of record synchronisation." },
];

/** What metrics are made of. */
export interface MetricsParts {
  readonly deps: GatewayDeps;
  readonly tables: GatewayTables;
  readonly counters: () => Readonly<Record<string, number>>;
  readonly startedUnixMs: () => number;
}

/** The text of now. */
export function metricsText({ deps, tables, counters, startedUnixMs }: MetricsParts): string {
  return openMetricsText([
    ...tableFamilies(inOrder(tables.sizes())),
    ...counterFamilies(counters()),
    ...processFamilies(deps.processUsage?.(), "causeway_gateway_start_time_seconds", startedUnixMs()),
    ...workerFamilies(deps.workerConnections?.()),
  ]);
}

/** As the tables are documented. */
function inOrder(sizes: ReturnType<GatewayTables["sizes"]>): typeof sizes {
  const names = Object.keys(gatewayTables) as (keyof typeof sizes)[];
  return Object.fromEntries(names.map((name) => [name, sizes[name]])) as typeof sizes;
}

function counterFamilies(counts: Readonly<Record<string, number>>): readonly MetricFamily[] {
  const all: Record<string, number> = {
    ...Object.fromEntries(Object.keys(gatewayCounters).map((name) => [name, 0])),
    ...counts,
  };
  const grouped = gatewayCounterFamilies.map((family) => ({
    ...family,
    samples: [] as { labels: object; value: number }[],
  }));
  const single: MetricFamily[] = [];
  for (const [name, value] of Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const help = gatewayCounters[name];
    const group = help === undefined ? grouped.find(({ prefix }) => name.startsWith(prefix)) : undefined;
    if (group !== undefined) {
      group.samples.push({ labels: { [group.label]: name.slice(group.prefix.length) }, value });
      continue;
    }
    const full = name.startsWith("causeway_") ? name : `causeway_gateway_${name}_total`;
    single.push({ name: full, type: "counter", help: help ?? `Counted as ${name}.`, samples: [{ value }] });
  }
  return [
    ...single,
    ...grouped.map(({ name, help, samples }) => ({ name, help, type: "counter", samples }) as MetricFamily),
  ];
}
