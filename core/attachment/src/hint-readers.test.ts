/** What DNS, DHCP and people write about gateways, read into endpoints. */
import { assigned } from "@causeway/core-base";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dhcpFileLengthMax, dhcpValueBytesMax, findDhcpOption, readDhcpOption } from "./dhcp-lease.ts";
import { parseEndpoint } from "./endpoint-text.ts";
import { orderSvcb, parseSvcb } from "./svcb.ts";

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (b) => Number.parseInt(b, 16));

describe("endpoints", () => {
  const read: Record<string, string | undefined> = {
    "10.1.2.3": `https://10.1.2.3:${assigned.gatewayPort}`,
    "10.1.2.3:7401": "https://10.1.2.3:7401",
    "gw1.blue.example": `https://gw1.blue.example:${assigned.gatewayPort}`,
    "GW1.Blue.Example.:7401": "https://gw1.blue.example:7401",
    "https://gw1.blue.example:7401/": "https://gw1.blue.example:7401",
    "https://gw1.blue.example": `https://gw1.blue.example:${assigned.gatewayPort}`,
    "fd00::1": `https://[fd00::1]:${assigned.gatewayPort}`,
    "[fd00::1]:7401": "https://[fd00::1]:7401",
    "http://gw1.blue.example": undefined,
    "gw1:0": undefined,
    "gw1:65536": undefined,
    "gw1:7401/path": undefined,
    "user@gw1": undefined,
    "": undefined,
    "[fd00::1": undefined,
    "gw 1": undefined,
    "https://gw1@evil.example:1": undefined,
  };
  test.each(Object.entries(read))("%s", (text, endpoint) => expect(parseEndpoint(text)).toBe(endpoint));
});

describe("DHCP", () => {
  test("the option holds addresses, names or service endpoints [AAP-52]", () => {
    expect(readDhcpOption(ascii("10.0.0.2"))).toEqual([`https://10.0.0.2:${assigned.gatewayPort}`]);
    expect(readDhcpOption(ascii("gw1.blue.example"))).toEqual([`https://gw1.blue.example:${assigned.gatewayPort}`]);
    expect(readDhcpOption(ascii("https://gw1.blue.example:7401, 10.0.0.2:7402\0"))).toEqual([
      "https://gw1.blue.example:7401",
      "https://10.0.0.2:7402",
    ]);
    expect(readDhcpOption(Uint8Array.of(10, 0, 0, 2, 10, 0, 0, 3), 7401)).toEqual([
      "https://10.0.0.2:7401",
      "https://10.0.0.3:7401",
    ]);
    expect(readDhcpOption(Uint8Array.of(1, 2, 3))).toEqual([]);
    expect(readDhcpOption(new Uint8Array(dhcpValueBytesMax + 4))).toEqual([]);
  });

  const files: Record<string, string> = {
    dhclient:
      'lease {\n  option unknown-224 "10.0.0.9";\n}\nlease {\n  interface "eth0";\n  option unknown-224 "10.0.0.2";\n}\n',
    "dhclient with bytes": "lease {\n  option unknown-224 31:30:2e:30:2e:30:2e:32;\n}\n",
    "systemd-networkd": "# This is private data. Do not parse.\nADDRESS=10.0.0.77\nOPTION_224=31302e302e302e32\n",
    "udhcpc script": "ip=10.0.0.77\nopt224='31302e302e302e32'\ninterface=eth0\n",
    NetworkManager: "dhcp_lease_time=3600\nunknown_224=10.0.0.2\n",
    dhcpcd: "new_unknown_224='10.0.0.2'\n",
  };
  test.each(Object.entries(files))("what %s stores is read [AAP-52]", (_name, text) => {
    expect(readDhcpOption(findDhcpOption(text) ?? new Uint8Array())).toEqual([
      `https://10.0.0.2:${assigned.gatewayPort}`,
    ]);
    expect(findDhcpOption(text, 225)).toBeUndefined();
  });

  test("another option that ends in the same digits is not taken for it", () => {
    expect(
      findDhcpOption("option domain-name-224-x 1;\nserverid=224\nopt1224=aa\nxopt224=aa\n224x=1\n"),
    ).toBeUndefined();
    expect(findDhcpOption(`${"#".repeat(dhcpFileLengthMax)}\nopt224=aa\n`)).toBeUndefined();
  });

  test("any bytes and any file are read without an error, and only endpoints come out [AAP-52]", () => {
    const isEndpoint = (endpoint: string): boolean => parseEndpoint(endpoint) === endpoint;
    fc.assert(fc.property(fc.uint8Array({ maxLength: 1_100 }), (value) => readDhcpOption(value).every(isEndpoint)));
    const line = fc.tuple(fc.constantFrom("opt224=", "option unknown-224 ", "OPTION_224=", ""), fc.string());
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const value = findDhcpOption(lines.map((each) => each.join("")).join("\n"));
        expect(value === undefined || value.length <= dhcpValueBytesMax).toBe(true);
      }),
    );
  });
});

describe("SVCB", () => {
  test("reads the records of RFC 9460 appendix D [AAP-56]", () => {
    expect(parseSvcb(bytesOf("000003666f6f076578616d706c6503636f6d00"))).toMatchObject({
      priority: 0,
      target: "foo.example.com",
    });
    expect(parseSvcb(bytesOf("000100"))).toEqual({
      priority: 1,
      target: "",
      port: undefined,
      alpn: undefined,
      addresses: [],
    });
    expect(parseSvcb(bytesOf("001003666f6f076578616d706c6503636f6d00000300020035"))).toMatchObject({
      priority: 16,
      port: 53,
    });
    expect(
      parseSvcb(
        bytesOf(
          "000103666f6f076578616d706c6503636f6d000006002020010db800000000000000000000000120010db8000000000000000000530001",
        ),
      ),
    ).toMatchObject({ addresses: ["2001:db8:0:0:0:0:0:1", "2001:db8:0:0:0:0:53:1"] });
    expect(
      parseSvcb(
        bytesOf("001003666f6f076578616d706c65036f7267000000000400010004000100090268320568332d313900040004c0000201"),
      ),
    ).toMatchObject({ alpn: ["h2", "h3-19"], addresses: ["192.0.2.1"] });
  });

  const bad: Record<string, string> = {
    "cut off": "0001",
    "a name without an end": "000103666f6f",
    "a compressed name": "0001c000",
    "a port of one byte": "000100000300010a",
    "keys out of order": "0001000004000401020304000300021234",
    "a key twice": "00010000030002123400030002 1234".replaceAll(" ", ""),
    "a value that is cut off": "000100000300021",
    "a mandatory key that is not known": "0001000000000200ff00ff0000",
    "a mandatory key that is not there": "000100000000020003",
    "addresses of three bytes": "00010000040003010203",
    "no protocol": "0001000001000100",
  };
  test.each(Object.entries(bad))("a record with %s is left out", (_name, hex) => {
    expect(parseSvcb(bytesOf(hex))).toBeUndefined();
  });

  test("lowest priority first; records for other protocols are left out", () => {
    const record = (priority: number, alpn?: readonly string[]) => ({
      priority,
      target: `gw${priority}`,
      port: undefined,
      alpn,
      addresses: [],
    });
    expect(orderSvcb([record(3), record(1, ["h2"]), record(2, ["h3"])]).map((r) => r.target)).toEqual(["gw1", "gw3"]);
  });

  test("any bytes are read without an error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (rdata) => {
        const record = parseSvcb(rdata);
        expect(record === undefined || record.target.length <= 255).toBe(true);
      }),
    );
  });
});
