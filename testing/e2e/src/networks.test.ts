/** Agents find gateways in real networks: namespaces, a DHCP and a DNS server, an anycast address, and impostors. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assigned } from "@causeway/core-base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { debianTools } from "./debian.ts";
import type { Attempt, LabReport } from "./networks/lab-report.ts";
import { namespacesMissing, reportOfBox } from "./networks/namespaces.ts";

const tools = debianTools({
  name: "networks",
  packages: ["dnsmasq-base", "busybox-static", "nftables", "iproute2", "procps"],
  check: [
    "sh",
    "-c",
    "dnsmasq --version && busybox --list | grep -q udhcpc && nft --version && ip -V && sysctl --version",
  ],
});
const missing = "missing" in tools ? tools.missing : namespacesMissing();
if (missing !== undefined) process.stderr.write(`discovery in real networks is not tested: ${missing}\n`);

const gateway = (name: string): string => `spiffe://blue.example/gateway/${name}`;

describe.skipIf(missing !== undefined)("in a network of its own", { timeout: 300_000 }, () => {
  let folder: string;
  let report: LabReport;

  beforeAll(async () => {
    if ("missing" in tools || missing !== undefined) return;
    folder = mkdtempSync(join(tmpdir(), "causeway-lab-"));
    report = (await reportOfBox("./lab.ts", tools.env, folder)) as LabReport;
  }, 300_000);

  afterAll(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  const works = (found: Attempt | undefined, method: string, at: string): void =>
    expect(found).toMatchObject({
      event: "ready",
      gateway: gateway(at),
      answer: "hello",
      discovery: { chosen: { method, reason: expect.any(String) } },
    });

  test("DNS alone is enough: SVCB, SRV and DNS-SD, by a name server of Debian [AAP-1, AAP-45, AAP-56]", () => {
    // Both that the SVCB records name make an offer; near to equal, the quicker one is taken.
    expect([gateway("edge"), gateway("far")]).toContain(report.dns["svcb"]?.gateway);
    expect(report.dns["svcb"]).toMatchObject({ answer: "hello", discovery: { chosen: { method: "dns" } } });
    works(report.dns["srv"], "dns", "far");
    works(report.dns["dns-sd"], "dns", "edge");
  });

  test("methods are tried in the configured order until one leads to an attachment [AAP-46]", () => {
    const found = report.dns["nothing, then the next method"];
    works(found, "dns", "far");
    expect(found?.discovery?.passedOver).toEqual([
      { method: "dhcp", endpoint: "", why: "it named no gateway" },
      { method: "dns", endpoint: "", why: "it named no gateway" },
    ]);
  });

  test("DHCP alone is enough, with an address, a name or a service endpoint, by server and client of Debian [AAP-45, AAP-52]", () => {
    works(report.dhcp["address"], "dhcp", "edge");
    works(report.dhcp["name"], "dhcp", "far");
    works(report.dhcp["url"], "dhcp", "far");
  });

  test("the gateway may be on the host of the default route [AAP-51]", () => {
    works(report.dhcp["address"], "dhcp", "edge");
    expect(report.dhcp["address"]?.discovery?.chosen?.endpoint).toBe(`https://10.80.1.1:${assigned.gatewayPort}`);
  });

  test("of two gateways behind one anycast address the near one is taken, without any list [AAP-47, AAP-50]", () => {
    const { first } = report.anycast;
    expect(first).toMatchObject({
      event: "ready",
      gateway: gateway("near"),
      discovery: { chosen: { method: "anycast" } },
    });
    // The offer names the gateway's own address: the attachment does not hang on the anycast route.
    expect(first.discovery?.chosen?.endpoint).toBe(`https://10.80.0.11:${assigned.gatewayPort}`);
  });

  test("when the near gateway goes the far one takes over at the same address [AAP-50]", () => {
    const { lost, second } = report.anycast;
    expect(lost.event).toBe("detached");
    expect(second).toMatchObject({
      event: "attached",
      gateway: gateway("far"),
      discovery: { chosen: { method: "anycast" } },
    });
  });

  test("GW-DISCOVER in a datagram leads to the same attachment, where gateways are configured for it [AAP-47]", () => {
    works(report.datagram, "anycast", "far");
    expect(report.datagram.discovery?.chosen?.endpoint).toBe(`https://10.80.0.12:${assigned.gatewayPort}`);
  });

  test("a flood of GW-DISCOVER keeps no agent from finding the gateway and attaching to it [AAP-102]", () => {
    const { overTls, inDatagrams, isFlooding } = report.flooded;
    works(overTls, "anycast", "far");
    works(inDatagrams, "anycast", "far");
    expect(isFlooding).toBe(true);
  });

  test("a spoofed offer in a datagram is discarded: nothing that the domain trusts signed it [AAP-57]", () => {
    const found = report.impostors["foreign: a spoofed offer in a datagram"];
    works(found, "anycast", "far");
    expect(found?.heard).toContain("datagram");
    expect(found?.heard).not.toContain("connection");
    expect(found?.failures.join()).toMatch(/agent\.discover_failed CAUSEWAY_IDENTITY_/);
  });

  test("a rogue DHCP server attracts nobody: authentication fails and the next method is used [AAP-53]", () => {
    const found = report.impostors["foreign: a rogue DHCP server"];
    works(found, "static", "edge");
    expect(found?.failures.join()).toMatch(/agent\.discover_failed CAUSEWAY_(IDENTITY_|UNREACHABLE)/);
    refusedAtTheDoor(found);
  });

  test("a rogue DNS answer attracts nobody: the handshake fails and the next address is used [AAP-57]", () => {
    const found = report.impostors["foreign: a rogue DNS answer"];
    works(found, "dns", "edge");
    expect(found?.discovery?.passedOver.map(({ endpoint }) => endpoint)).toEqual([
      `https://10.80.1.66:${assigned.gatewayPort}`,
    ]);
    refusedAtTheDoor(found);
  });

  test("an agent that knows nothing but an impostor stays away and says why [AAP-53, AAP-57]", () => {
    const found = report.impostors["foreign: nothing else is known"];
    expect(found).toMatchObject({ event: "failed", code: expect.stringMatching(/^CAUSEWAY_/) });
    refusedAtTheDoor(found);
  });

  test("the certificate of an agent does not make a gateway [AAP-62]", () => {
    const found = report.impostors["agent: an agent's certificate"];
    works(found, "static", "edge");
    expect(found?.failures).toContain("agent.discover_failed CAUSEWAY_IDENTITY_ROLE_WRONG");
    refusedAtTheDoor(found);
  });

  test("a spoofed offer is refused, though a certified gateway made it: the signer is not who it names [AAP-58]", () => {
    const found = report.impostors["spoof: a spoofed offer"];
    works(found, "static", "edge");
    expect(found?.heard).toContain("discover");
    expect(found?.heard).not.toContain("link");
    expect(found?.failures).toContain("agent.discover_failed CAUSEWAY_IDENTITY_MISMATCH");
  });

  test("the host of a gateway that the registry names is enough [AAP-55]", () => {
    works(report.directory["alone"], "directory", "edge");
    expect(report.directory["alone"]?.discovery?.passedOver).toEqual([]);
  });

  test("it connects to the endpoint of the offer and to no other: what its machine dialled [AAP-59]", () => {
    const services = ["10.80.0.1 7400", "10.80.0.1 7401"];
    const dialled = (...gateways: readonly string[]): readonly string[] =>
      [...services, ...gateways.map((address) => `${address} ${assigned.gatewayPort}`)].sort();
    // The question went in a datagram to the anycast address, and the offer named another.
    expect(report.datagram.discovery?.chosen?.endpoint).toBe(`https://10.80.0.12:${assigned.gatewayPort}`);
    expect(report.datagram.dialled).toEqual(dialled("10.80.0.12"));
    // Two answered, and one of the answers was no offer.
    expect(report.impostors["foreign: a spoofed offer in a datagram"]?.dialled).toEqual(dialled("10.80.0.12"));
    // Over TLS the question needs a connection of its own.
    expect(report.flooded.overTls.dialled).toEqual(dialled(assigned.anycastAddress, "10.80.0.12"));
  });

  test("a gateway at the load at which it is to stay silent makes no offer, and the agent goes elsewhere [AAP-49]", () => {
    const [asked, inDatagram] = [report.full["asked over TLS"], report.full["asked in a datagram"]];
    works(asked, "static", "far");
    expect(asked?.failures).toEqual(["agent.discover_failed CAUSEWAY_FORWARDING_OVERLOADED"]);
    works(inDatagram, "anycast", "far");
    expect(inDatagram?.discovery?.passedOver).toEqual([
      { method: "anycast", endpoint: `udp://10.80.1.1:${assigned.discoveryPort}`, why: "it did not answer in time" },
    ]);
  });

  test("from the handshake on the frames of the link are the same, whatever the method [AAP-67]", () => {
    const traces = {
      anycast: report.anycast.first,
      datagram: report.datagram,
      dhcp: report.dhcp["name"],
      dns: report.dns["svcb"],
      directory: report.directory["alone"],
    };
    // How many frames a message and its acknowledgement take is a matter of time: each kind counts where it comes first.
    const stepsOf = (found: Attempt | undefined): readonly string[] => [...new Set(found?.trace)];
    const expected = stepsOf(report.static);
    const kinds = expected.map((step) => step.replace(/ \{.*/, ""));
    expect(kinds.slice(0, 4)).toEqual([
      "agent: attachHello",
      "gateway: attachChallenge",
      "agent: attachProof",
      "gateway: attachLease",
    ]);
    expect(kinds).toEqual(expect.arrayContaining(["agent: advertise", "agent: message", "gateway: message"]));
    for (const [method, found] of Object.entries(traces)) expect([method, stepsOf(found)]).toEqual([method, expected]);
  });

  test("whatever the method, what follows is the same: attached, it finds another agent by what it can do and gets its answer [AAP-18, AAP-40]", () => {
    const attached = [...Object.values(report.dns), ...Object.values(report.dhcp)];
    expect(attached.map(({ answer }) => answer)).toEqual(attached.map(() => "hello"));
  });

  /** The impostor saw a connection at most; it was not asked anything, and no frame came. */
  function refusedAtTheDoor(found: Attempt | undefined): void {
    const heard = found?.heard ?? ["nothing was recorded"];
    expect(heard.filter((event) => event !== "connection")).toEqual([]);
  }
});
