/** The page of metrics: names and meanings from the code that writes them. */
import { callHelps, tableFamilyHelps } from "../core/base/src/service-metrics.ts";
import { authorityTables } from "../services/authority/src/metrics.ts";
import { gatewayTables } from "../services/gateway/src/gateway-tables.ts";
import { gatewayCounterFamilies, gatewayCounters } from "../services/gateway/src/metrics.ts";
import { registryTables } from "../services/registry/src/metrics.ts";

const intro = `# Metrics

Every gateway, the registry and the authority tell what they count and hold in the text format of OpenMetrics 1.0, which Prometheus and its kin read. This page is made from the code by \`npm run generate\`.

\`causeway metrics\` prints it for all services of a domain, \`--gateway NAME\`, \`--registry\` or \`--authority\` for one. \`--json\` gives the texts one by one. Prometheus and others get the same with \`GET /metrics\`, with a certificate of their own that reads this and nothing else: [monitoring.md](monitoring.md).

A rule that finds most troubles before they hurt: \`causeway_table_entries / causeway_table_entries_max > 0.8\`, and the same of bytes. What is at its bound refuses, evicts or waits as [limits.md](limits.md) says, and the refusals are counted by code.
`;

/** The page, made anew. */
export function metricsMarkdown(): string {
  const families = Object.values(tableFamilyHelps).map(
    ([name, help]) => `| \`${name}{table="…"}\` | gauge | ${help} |`,
  );
  return [
    intro,
    "## Tables and queues",
    "",
    "A table without a bound of its own is bounded for each agent, by the port, or by the configuration.",
    "",
    "| name | kind | what it is |",
    "|---|---|---|",
    ...families,
    "",
    ...tableLines("gateway", gatewayTables),
    ...tableLines("registry", registryTables),
    ...tableLines("authority", authorityTables),
    "## Counters",
    "",
    "They grow from the start of the process. Others than these may be there as well.",
    "",
    "| name | what it counts |",
    "|---|---|",
    ...Object.entries(gatewayCounters).map(([name, help]) => `| \`causeway_gateway_${name}_total\` | ${help} |`),
    ...gatewayCounterFamilies.map(({ name, label, help }) => `| \`${name}{${label}="…"}\` | ${help} |`),
    ...["registry", "authority"].flatMap((service) => [
      `| \`causeway_${service}_calls_total{method="…"}\` | ${callHelps.calls} |`,
      `| \`causeway_${service}_refused_total{code="…"}\` | ${callHelps.refused} |`,
    ]),
    "",
    "What the port refuses before it asks a service is not among them, but in the log: a call that is not open to a monitor or to one without a certificate of the domain (`h2.call_refused`), and a path that nobody serves (`h2.request_refused`).",
    "",
    "## Process",
    "",
    "| name | kind | what it is |",
    "|---|---|---|",
    "| `process_cpu_seconds_total` | counter | Processor time, all threads together. |",
    "| `process_resident_memory_bytes` | gauge | Memory of the process. |",
    "| `process_heap_bytes` | gauge | JavaScript heap in use. |",
    "| `causeway_event_loop_delay_seconds` | gauge | Longest delay of the event loop since the last reading. |",
    '| `causeway_worker_connections{worker="…"}` | gauge | TCP connections of each thread that does TCP and TLS, where there are such threads. |',
    "| `causeway_gateway_start_time_seconds` | gauge | When the gateway started, in Unix time; `causeway_registry_…` and `causeway_authority_…` of those. |",
    "",
  ].join("\n");
}

function tableLines(service: string, tables: Readonly<Record<string, string>>): readonly string[] {
  return [
    `| table of a${/^[aeiou]/.test(service) ? "n" : ""} ${service} | what it holds |`,
    "|---|---|",
    ...Object.entries(tables).map(([name, help]) => `| \`${name}\` | ${help} |`),
    "",
  ];
}
