import { create } from "@bufbuild/protobuf";
import { asUnixMs, domainOf, parseAgentId, parseDomain } from "@causeway/core-base";
import type { AgentRecord, CardSkill } from "@causeway/core-records";
import { ars, record } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import { Catalogue, type CatalogueEntry } from "./catalogue.ts";
import { termsOf } from "./search/tokens.ts";

const blue = parseDomain("blue.example");

function skill(id: string, description: string, more: Partial<CardSkill> = {}): CardSkill {
  return { id, name: id, description, tags: [], examples: [], ...more };
}

function entry(
  id: string,
  skills: readonly CardSkill[],
  more: Omit<Partial<CatalogueEntry>, "record"> & { record?: Partial<AgentRecord> } = {},
): CatalogueEntry {
  const agentId = parseAgentId(id);
  return {
    agentId,
    signedRecord: create(record.SignedRecordSchema, {
      body: new TextEncoder().encode(id + skills.map((s) => s.id).join()),
    }),
    signedOrigin: undefined,
    status: "online",
    applicable: true,
    gatewayUri: "https://gw1.blue.example/amsp",
    path: [],
    freshUnixMs: 1,
    ...more,
    record: {
      agentId,
      domain: domainOf(agentId),
      agentCard: new Uint8Array(),
      card: { name: id.split("/").at(-1) ?? id, description: "", version: "1", skills },
      languages: ["en"],
      protocols: ["agp/1"],
      tags: [],
      revision: 1n,
      updatedAt: asUnixMs(1),
      allowedDomains: [],
      visibleDomains: [],
      lifecycleKind: undefined,
      channels: [],
      ...more.record,
    },
  };
}

function catalogueOf(...entries: CatalogueEntry[]): Catalogue {
  const catalogue = new Catalogue(blue, undefined);
  for (const e of entries) catalogue.put(e);
  return catalogue;
}

const ask = (catalogue: Catalogue, query: Partial<ars.DiscoverRequest>, domain = blue) =>
  catalogue.discover(create(ars.DiscoverRequestSchema, query as object), {
    domain,
    remote: "own",
    gatewayUri: undefined,
  });

const ids = (response: ars.DiscoverResponse) => response.matches.map((match) => match.agentId.replace("spiffe://", ""));

describe("discovery", () => {
  const hotel = entry("green.example/travel/hotels", [
    skill("book-hotel", "Books hotel rooms in any city", { tags: ["travel"] }),
  ]);
  const convert = entry(
    "blue.example/tools/convert",
    [skill("json-to-xml", "Converts JSON documents to XML", { tags: ["data"] })],
    {
      record: { languages: ["de", "en-GB"], protocols: ["a2a/1.0"] },
    },
  );

  test("an inquiry in plain words lists every agent that fits and no other [AAP-36] [AMSP-63]", async () => {
    const catalogue = catalogueOf(hotel, convert);
    expect(ids(await ask(catalogue, { text: "convert JSON to XML" }))).toEqual(["blue.example/tools/convert"]);
    expect(ids(await ask(catalogue, { text: "find someone who can book a hotel in Tokyo" }))).toEqual([
      "green.example/travel/hotels",
    ]);
  });

  test("a skill that two agents share returns exactly both [AAP-22]", async () => {
    const second = entry("blue.example/travel/rooms", [skill("book-hotel", "Reserves rooms")]);
    const found = await ask(catalogueOf(hotel, convert, second), { skills: ["book-hotel"] });
    expect(ids(found).sort()).toEqual(["blue.example/travel/rooms", "green.example/travel/hotels"]);
  });

  test("answers mark local and remote matches [ANA-20]", async () => {
    const found = await ask(catalogueOf(hotel, convert), {});
    expect(Object.fromEntries(found.matches.map((m) => [m.agentId, m.local]))).toEqual({
      [hotel.agentId]: false,
      [convert.agentId]: true,
    });
  });

  test("filters hold together and equal a reference filter over 1,000 agents [ANA-91, ANA-92]", async () => {
    // Each attribute is drawn from other digits of the index, so that all combinations occur.
    const pick = <T>(values: readonly T[], i: number): T => values[Math.trunc(i) % values.length] as T;
    const statuses = ["online", "degraded", "offline"] as const;
    const many = Array.from({ length: 1000 }, (_, i) =>
      entry(
        `${pick(["blue.example", "green.example"], i)}/n/a${i}`,
        [skill(pick(["s1", "s2", "s3"], i / 2), "x", { tags: [pick(["t1", "t2"], i / 6)] })],
        {
          status: pick(statuses, i / 12),
          record: { languages: [pick(["en", "de", "fr"], i / 36)], protocols: [pick(["agp/1", "a2a/1.0"], i / 108)] },
        },
      ),
    );
    const found = await ask(catalogueOf(...many), {
      skills: ["s1"],
      tags: ["T1"],
      languages: ["en"],
      protocols: ["a2a"],
      domains: ["green.example"],
      statuses: [record.AgentStatus.ONLINE],
      limit: 100,
    });
    const expected = many
      .filter((e) => e.agentId.includes("green") && e.status === "online" && e.record.card.skills[0]?.id === "s1")
      .filter(
        (e) =>
          e.record.card.skills[0]?.tags[0] === "t1" &&
          e.record.languages[0] === "en" &&
          e.record.protocols[0] === "a2a/1.0",
      )
      .map((e) => e.agentId.replace("spiffe://", ""));
    expect(expected.length).toBeGreaterThan(0);
    expect(ids(found).sort()).toEqual(expected.sort());
  });

  test("a positive answer says why, an empty one what excluded the others [BEY-11]", async () => {
    const catalogue = catalogueOf(hotel, { ...convert, status: "offline" });
    const found = await ask(catalogue, { text: "hotel booking" });
    expect(found.matches[0]?.why).toContain("hotel");
    const none = await ask(catalogue, { text: "json to xml" });
    expect(none.matches).toEqual([]);
    expect(none.notes).toContain("1 of 2 agents are not with status online or degraded");
    expect(none.notes.at(-1)).toContain("none of 1 admissible agents matches");
  });

  test("offline and inapplicable agents are left out unless asked for [ANA-101, ANA-120]", async () => {
    const catalogue = catalogueOf({ ...hotel, status: "offline" }, { ...convert, applicable: false });
    expect(ids(await ask(catalogue, {}))).toEqual([]);
    expect(ids(await ask(catalogue, { statuses: [record.AgentStatus.OFFLINE] }))).toEqual([
      "green.example/travel/hotels",
    ]);
  });

  test("what a domain may not see is neither listed nor counted in the notes [ANA-93]", async () => {
    const secret = entry("blue.example/hr/payroll", [skill("pay", "Pays salaries")], {
      record: { visibleDomains: [blue] },
    });
    const catalogue = catalogueOf(secret, convert);
    const outside = await ask(catalogue, { text: "salaries" }, parseDomain("green.example"));
    expect(outside.matches).toEqual([]);
    expect(outside.notes.join()).not.toContain("2");
    expect(ids(await ask(catalogue, { text: "salaries" }))).toEqual(["blue.example/hr/payroll"]);
  });

  test("an update replaces what was found before, removal ends it [ANA-18, ANA-87]", async () => {
    const catalogue = catalogueOf(convert);
    catalogue.put(entry("blue.example/tools/convert", [skill("csv-to-pdf", "Prints CSV tables")]));
    expect(ids(await ask(catalogue, { skills: ["json-to-xml"] }))).toEqual([]);
    expect(ids(await ask(catalogue, { text: "xml" }))).toEqual([]);
    expect(ids(await ask(catalogue, { text: "print csv" }))).toEqual(["blue.example/tools/convert"]);
    catalogue.remove(convert.agentId);
    expect(ids(await ask(catalogue, {}))).toEqual([]);
  });

  test("meaning finds what words do not", async () => {
    // A toy vector space stands for the model: one axis for lodging, one for documents.
    const axis = (text: string) =>
      Float32Array.from([/hotel|lodging|accommodation/i.test(text) ? 1 : 0, /xml|json|file/i.test(text) ? 1 : 0, 0.1]);
    const catalogue = new Catalogue(blue, { embed: async (texts) => texts.map(axis) });
    catalogue.put(hotel);
    catalogue.put(convert);
    await catalogue.settled();
    const found = await ask(catalogue, { text: "accommodation please" });
    expect(ids(found)[0]).toBe("green.example/travel/hotels");
    expect(found.matches[0]?.why).toContain("means nearly the same as");
  });
});

describe("the semantic index", () => {
  const hotel = (): CatalogueEntry => entry("green.example/travel/hotels", [skill("book", "Books hotel rooms")]);
  const other = entry("green.example/travel/cars", [skill("rent", "Rents cars")]);
  const hotelAxis = (text: string) => Float32Array.from([/hotel|lodging/i.test(text) ? 1 : 0, 0.1]);

  test("takes a record whose status changes before its text was embedded", async () => {
    const catalogue = new Catalogue(blue, { embed: async (texts) => texts.map(hotelAxis) });
    catalogue.put(hotel());
    catalogue.put({ ...hotel(), status: "degraded" });
    await catalogue.settled();
    expect(ids(await ask(catalogue, { text: "lodging" }))).toEqual(["green.example/travel/hotels"]);
  });

  test("goes on after a text that the model cannot take, and says so", async () => {
    const failures: unknown[] = [];
    const embed = async (texts: readonly string[]) => {
      if (texts.some((text) => text.includes("cars"))) throw new Error("the model failed");
      return texts.map(hotelAxis);
    };
    const catalogue = new Catalogue(blue, { embed }, (_agentId, thrown) => failures.push(thrown));
    catalogue.put(other);
    catalogue.put(hotel());
    await catalogue.settled();
    expect(failures).toHaveLength(1);
    expect(ids(await ask(catalogue, { text: "lodging" }))).toEqual(["green.example/travel/hotels"]);
    expect(ids(await ask(catalogue, { text: "cars" }))).toEqual(["green.example/travel/cars"]);
    expect(failures).toHaveLength(2);
  });
});

test("terms are folded, stemmed and cut from Chinese text", () => {
  expect(termsOf("Can you book Hotels?")).toEqual(termsOf("booking a hotel"));
  expect(termsOf("Café")).toEqual(["caf"].map(() => termsOf("cafe")[0]));
  expect(termsOf("预订酒店")).toEqual(["预订", "订酒", "酒店"]);
});
