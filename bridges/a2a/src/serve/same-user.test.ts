import fc from "fast-check";
import { expect, test } from "vitest";
import { userOf } from "./same-user.ts";

const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const line = (local: string, remote: string, state: string, user: number): string =>
  `   1: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  ${user}        0 3441 1 0000000000000000`;
const client = { address: "127.0.0.1", port: 0xb559 };
const server = { address: "127.0.0.1", port: 0x1d38 };
const [clientHex, serverHex] = ["0100007F:B559", "0100007F:1D38"];
const tables = (tcp: readonly string[], tcp6: readonly string[] = []) => ({
  tcp: [head, ...tcp].join("\n"),
  tcp6: [head, ...tcp6].join("\n"),
});

test("the user of the client's end, not of the server's", () => {
  const both = tables([line(serverHex, clientHex, "01", 7), line(clientHex, serverHex, "01", 1_000)]);
  expect(userOf(both, client, server)).toBe(1_000);
  expect(userOf(tables([line(serverHex, clientHex, "01", 7)]), client, server)).toBeUndefined();
  expect(userOf(tables([]), client, server)).toBeUndefined();
});

test.each(["02", "04", "05", "06", "07", "08", "0A"])(
  "what is in the state %s is nobody's: the kernel lists user 0",
  (state) => {
    expect(userOf(tables([line(clientHex, serverHex, state, 0)]), client, server)).toBeUndefined();
  },
);

test("a client with an IPv6 socket is found under the mapped address, and the loopback address of IPv6", () => {
  const [mapped, mappedServer] = ["0000000000000000FFFF00000100007F:B559", "0000000000000000FFFF00000100007F:1D38"];
  expect(userOf(tables([], [line(mapped, mappedServer, "01", 5)]), client, server)).toBe(5);
  const mappedClient = { ...client, address: "::ffff:127.0.0.1" };
  expect(userOf(tables([line(clientHex, serverHex, "01", 6)]), mappedClient, server)).toBe(6);
  const [one, oneServer] = ["00000000000000000000000001000000:B559", "00000000000000000000000001000000:1D38"];
  const six = tables([], [line(one, oneServer, "01", 8)]);
  expect(userOf(six, { ...client, address: "::1" }, { ...server, address: "::1" })).toBe(8);
});

test("other ports and other processors", () => {
  const other = tables([line("0100007F:B55A", serverHex, "01", 1), line(clientHex, "0100007F:1D39", "01", 2)]);
  expect(userOf(other, client, server)).toBeUndefined();
  const big = tables([line("7F000001:B559", "7F000001:1D38", "01", 9)]);
  expect(userOf(big, client, server, false)).toBe(9);
  expect(userOf(big, client, server, true)).toBeUndefined();
});

test("no table makes a user of nothing", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (tcp, tcp6) => {
      expect(userOf({ tcp, tcp6 }, client, server)).toBeUndefined();
    }),
  );
});
