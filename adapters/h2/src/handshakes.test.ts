import fc from "fast-check";
import { expect, test } from "vitest";
import { Handshakes, sourceOf } from "./handshakes.ts";

interface TestSocket {
  readonly remoteAddress: string;
  readonly remotePort: number;
}

/** A listener that has `attached` finished connections beside the unfinished ones. */
class Listening {
  readonly open: TestSocket[] = [];
  readonly cut: TestSocket[] = [];
  attached = 0;
  readonly handshakes: Handshakes<TestSocket>;
  #ports = 0;

  constructor(perSourceMax: number, sessionsMax: number) {
    const cut = (socket: TestSocket): void => {
      this.cut.push(socket);
      this.open.splice(this.open.indexOf(socket), 1);
    };
    this.handshakes = new Handshakes({ perSourceMax, sessionsMax, cut });
  }

  accept(remoteAddress: string): TestSocket {
    this.#ports += 1;
    const socket = { remoteAddress, remotePort: this.#ports };
    this.open.push(socket);
    this.handshakes.begin(socket, this.open.length + this.attached);
    return socket;
  }

  finish(socket: TestSocket): void {
    this.open.splice(this.open.indexOf(socket), 1);
    this.attached += 1;
    // TLS has a socket of its own.
    this.handshakes.finished({ ...socket });
  }

  close(socket: TestSocket): void {
    this.open.splice(this.open.indexOf(socket), 1);
    this.handshakes.closed(socket);
  }

  of(source: string): number {
    return this.open.filter(({ remoteAddress }) => sourceOf(remoteAddress) === source).length;
  }
}

test("while half of the connections are free, nothing is closed", () => {
  const at = new Listening(1, 100);
  for (let i = 0; i < 50; i++) at.accept("192.0.2.1");
  expect(at.cut).toEqual([]);
});

test("a flooding source takes half of the connections at most, and what it opened first goes first [AAP-102]", () => {
  const at = new Listening(4, 100);
  const sockets = Array.from({ length: 80 }, () => at.accept("192.0.2.1"));
  expect(at.cut).toEqual(sockets.slice(0, 30));
  // Whoever else comes takes its places, not further ones.
  const other = at.accept("198.51.100.7");
  expect(at.cut).toEqual(sockets.slice(0, 31));
  expect(at.open).toContain(other);
  expect(at.open).toHaveLength(50);
});

test("when many are attached, each source has its share of unfinished ones [AAP-102]", () => {
  const at = new Listening(4, 100);
  at.attached = 70;
  for (let i = 0; i < 60; i++) at.accept("192.0.2.1");
  for (let i = 0; i < 3; i++) at.accept("198.51.100.7");
  expect([at.of("192.0.2.1"), at.of("198.51.100.7")]).toEqual([4, 3]);
  // What has finished is out of it.
  const own = at.accept("192.0.2.1");
  at.finish(own);
  expect(at.of("192.0.2.1")).toBe(3);
  at.accept("192.0.2.1");
  expect(at.cut).toHaveLength(57);
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8::5:6", "2001:db8:0:0::/64"],
  ["2001:db8:1:2::", "2001:db8:1:2::/64"],
  ["::1", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
])("%s stands for %s", (address, source) => {
  expect(sourceOf(address)).toBe(source);
});

test("a port that is used again before the end of its last connection was seen counts once", () => {
  const at = new Listening(1, 2);
  const first = { remoteAddress: "192.0.2.1", remotePort: 7 };
  const second = { ...first };
  at.handshakes.begin(first, 1);
  at.handshakes.begin(second, 1);
  at.handshakes.closed(first);
  expect(at.cut).toEqual([]);
  at.handshakes.begin({ remoteAddress: "192.0.2.1", remotePort: 8 }, 2);
  expect(at.cut[0]).toBe(second);
  expect(at.cut).toHaveLength(1);
});

test("whatever connections do, shortage closes only those of sources with more than their share [AAP-102]", () => {
  const steps = fc.array(
    fc.record({ act: fc.constantFrom("accept", "accept", "accept", "finish", "close"), which: fc.nat(4) }),
    { maxLength: 300 },
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 10, max: 60 }), steps, (share, max, all) => {
      const at = new Listening(share, max);
      for (const { act, which } of all) {
        const before = at.cut.length;
        if (act === "accept") {
          const counts = new Map([0, 1, 2, 3, 4].map((each) => [`192.0.2.${each}`, at.of(`192.0.2.${each}`)]));
          const own = `192.0.2.${which}`;
          counts.set(own, (counts.get(own) ?? 0) + 1);
          const isShort = at.open.length + 1 + at.attached > max / 2;
          const isCrowded = [...counts.values()].some((count) => count > share);
          at.accept(own);
          const [gone] = at.cut.slice(before);
          expect(at.cut.length - before).toBe(isShort && isCrowded ? 1 : 0);
          if (gone !== undefined) expect(counts.get(gone.remoteAddress)).toBeGreaterThan(share);
        } else {
          const socket = at.open[which];
          if (socket === undefined) continue;
          if (act === "finish") at.finish(socket);
          else at.close(socket);
          expect(at.cut).toHaveLength(before);
        }
      }
    }),
  );
});
