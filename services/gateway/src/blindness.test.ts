import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../../..");
/** Rooms whose code runs in a gateway's data path. */
const rooms = ["services/gateway", "core/forwarding", "core/topics", "core/attachment", "core/wire", "adapters/h2"];

function sources(room: string): readonly string[] {
  const directory = join(root, room, "src");
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts") && !/^(gen|testing)\//.test(name))
    .map((name) => readFileSync(join(directory, name), "utf8"));
}

describe("a gateway is blind", () => {
  test("no room of the data path imports the end-to-end layer or an MLS library [AAP-97]", () => {
    for (const room of rooms) {
      const files = sources(room);
      expect(files.length).toBeGreaterThan(0);
      for (const text of files) expect(text).not.toMatch(/from "(@causeway\/e2ee|ts-mls|@causeway\/agent)/);
      const manifest = readFileSync(join(root, room, "package.json"), "utf8");
      expect(manifest).not.toMatch(/@causeway\/e2ee|ts-mls|@causeway\/agent"/);
    }
  });

  test("the only keys that a gateway is given are those of its TLS and record certificates, so that it is no member of a group", () => {
    const ports = readFileSync(join(import.meta.dirname, "ports.ts"), "utf8");
    const identity = /interface GatewayIdentity \{([^}]*)\}/.exec(ports)?.[1] ?? "";
    expect([...identity.matchAll(/(\w+)\(\): Signer/g)].map((each) => each[1])).toEqual(["tlsSigner", "recordSigner"]);
    expect(identity).not.toMatch(/mls|private/i);
  });
});
