import { connectionLimits } from "@causeway/adapter-h2";
import { allGatewayLimits } from "@causeway/service-gateway";
import { expect, test } from "vitest";
import { domainSchema, parseDomainConfig } from "./domain.ts";

const minimal = `
domain: blue.example
authority: { listen: 127.0.0.1:7400 }
registry: { listen: 127.0.0.1:7401, gateway: core }
gateways:
  - { name: edge, level: 1, listen: 127.0.0.1:7402, uplinks: [core] }
  - { name: core, level: 2, listen: 127.0.0.1:7403, peers: ["https://127.0.0.1:8403"] }
`;

const parse = (text: string) => parseDomainConfig(text, "/etc/causeway/blue.yaml");

test("fills in defaults and resolves names to URLs", () => {
  const config = parse(minimal);
  expect(config.dataDir).toBe("/etc/causeway/data");
  expect(config.gateways[0]).toMatchObject({
    uri: "https://edge.blue.example/amsp",
    uplinks: ["https://127.0.0.1:7403"],
    port: 7402,
  });
  expect(config.registry?.gateway).toBe("https://127.0.0.1:7403");
  expect(config.authority.hosts).toEqual(["127.0.0.1", "localhost"]);
});

test("agents are told their own gateway for agents of other domains, or by choice the border of those", () => {
  const chosen = (value: string) =>
    parse(minimal.replace("gateway: core }", `gateway: core, remoteGateway: ${value} }`));
  expect(parse(minimal).registry?.remoteGateway).toBe("own");
  expect(chosen("border").registry?.remoteGateway).toBe("border");
  expect(() => chosen("serving")).toThrow(expect.objectContaining({ code: "CAUSEWAY_CONFIG_INVALID" }));
});

test("an unknown key is an error with the nearest name", () => {
  expect(() => parse(minimal.replace("peers:", "piers:"))).toThrow(
    /unknown key "piers" at gateways\.1; did you mean "peers"\?/,
  );
});

test("bounds of a gateway have the names and the meaning of the service's own, and typos a nearest name", () => {
  const withLimits = (limits: string) => parse(minimal.replace("level: 1,", `level: 1, limits: { ${limits} },`));
  expect(withLimits("agentMessagesPerSecond: 50").gateways[0]?.limits).toEqual({ agentMessagesPerSecond: 50 });
  expect(parse(minimal).gateways[0]?.limits).toEqual({});
  expect(() => withLimits("agentMessagePerSecond: 50")).toThrow(/did you mean "agentMessagesPerSecond"\?/);
  expect(() => withLimits("floodCloseAfter: 0")).toThrow(/gateways\.0\.limits\.floodCloseAfter must be >= 1/);
  const { definitions } = domainSchema() as { definitions: { gatewayLimits: { properties: object } } };
  expect(Object.keys(definitions.gatewayLimits.properties).sort()).toEqual(
    Object.keys({ ...allGatewayLimits, ...connectionLimits.rules }).sort(),
  );
});

test("bounds of connections are configured for every service, and checked", () => {
  const withLimits = (where: string, limits: string) =>
    parse(minimal.replace(`${where}`, `${where} limits: { ${limits} },`));
  const places = ["authority: {", "registry: {", "name: core,"];
  const limits = "connection.sessionsMax: 5, connection.handshakeMs: 500";
  const [authority, registry, gateway] = places.map((where) => withLimits(where, limits));
  const expected = { "connection.sessionsMax": 5, "connection.handshakeMs": 500 };
  expect(authority?.authority.limits).toEqual(expected);
  expect(registry?.registry?.limits).toEqual(expected);
  expect(gateway?.gateways[1]?.limits).toEqual(expected);
  expect(parse(minimal).authority.limits).toEqual({});
  for (const where of places) {
    expect(() => withLimits(where, "connection.handshakeMs: 5")).toThrow(/connection\.handshakeMs must be >= 100/);
    expect(() => withLimits(where, "connection.sessionMax: 5")).toThrow(/did you mean "connection\.sessionsMax"\?/);
  }
});

test("how many threads a gateway has for its connections is configured, and the machine's to say by default", () => {
  const withWorkers = (value: string) => parse(minimal.replace("level: 1,", `level: 1, workers: ${value},`));
  expect(parse(minimal).gateways[0]?.workers).toBe("auto");
  expect(withWorkers("3").gateways[0]?.workers).toBe(3);
  expect(withWorkers("0").gateways[0]?.workers).toBe(0);
  for (const value of ["-1", "65", "1.5", "many"])
    expect(() => withWorkers(value)).toThrow(/gateways\.0\.workers must /);
});

test("what a gateway offers at attachment is configured for each gateway [AAP-81]", () => {
  const gatewayOf = (more: string) => parse(minimal.replace("level: 1,", `level: 1, ${more},`)).gateways[0];
  expect(gatewayOf("attachmentModels: [soft], channelBindings: [tls-exporter]")).toMatchObject({
    attachmentModels: ["soft"],
    channelBindings: ["tls-exporter"],
  });
  expect(gatewayOf('datagrams: "[::]:7443"')?.datagrams).toEqual({ host: "::", port: 7443 });
  // Off unless it is asked for.
  expect(parse(minimal).gateways[0]).toMatchObject({
    attachmentModels: undefined,
    channelBindings: undefined,
    datagrams: undefined,
  });
  expect(() => gatewayOf("attachmentModels: [hard]")).toThrow(/gateways\.0\.attachmentModels\.0 must be one of/);
});

test("a domain prescribes whether its agents use gateways inside it, and leaves it to them by default [ANA-96]", () => {
  expect(parse(minimal).gatewayUse).toBe("prefer");
  expect(parse(`gatewayUse: always\n${minimal}`).gatewayUse).toBe("always");
  expect(() => parse(`gatewayUse: sometimes\n${minimal}`)).toThrow(/gatewayUse must be one of/);
});

test("a wrong value says what was expected and what came", () => {
  expect(() => parse(minimal.replace("level: 2", "level: 3"))).toThrow(
    /gateways\.1\.level must be one of \[1,2\], got 3/,
  );
});

test("a missing key, a bad reference, a bad YAML and a master key inside the data are errors", () => {
  expect(() => parse("domain: blue.example")).toThrow(/required property 'authority'/);
  expect(() => parse(minimal.replace("[core]", "[cor]"))).toThrow(
    /names "cor", which is no gateway here \(known: edge, core\)/,
  );
  expect(() => parse("domain: [")).toThrow(/CAUSEWAY_CONFIG_INVALID|blue\.yaml/);
  expect(() => parse(`${minimal}masterKeyFile: data/master.key\n`)).toThrow(/inside dataDir/);
});

test("who may send to whom is configured for each gateway", () => {
  const withPolicy = (rules: string) =>
    parse(minimal.replace("level: 1,", `level: 1, policy: [${rules}],`)).gateways[0];
  const rule = { name: "no spam", effect: "deny", source: "red.example", direction: "inbound" };
  expect(withPolicy(JSON.stringify(rule))?.policy).toEqual([rule]);
  expect(parse(minimal).gateways[0]?.policy).toEqual([]);
  expect(() => withPolicy("{ name: x, effect: forbid }")).toThrow(/effect must be one of \["permit","deny"\]/);
  expect(() => withPolicy("{ name: x, effect: deny, from: red.example }")).toThrow(/unknown key "from"/);
});
