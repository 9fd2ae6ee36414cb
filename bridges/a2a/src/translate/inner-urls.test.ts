import { expect, test } from "vitest";
import { innerUrlsOf } from "./inner-urls.ts";

test.each([
  "http://10.1.2.3/a2a",
  "https://172.16.0.1",
  "https://172.31.255.255:8443/x",
  "http://192.168.1.5:41241",
  "http://169.254.169.254/latest",
  "http://100.64.0.1",
  "https://[fd00::1]/",
  "https://[fe80::1]/",
  "https://[::ffff:10.0.0.1]/",
  "https://agents/desk",
  "https://desk.corp.internal/a2a",
  "grpc://desk.local:50051",
  "https://printer.lan.",
  "https://0x0a000001/",
])("%s tells how a network is built [AAP-24]", (url) => {
  expect(innerUrlsOf({ supportedInterfaces: [{ url }] })).toEqual({ inner: [url], loopback: [] });
});

test.each([
  "http://127.0.0.1:41241/jsonrpc",
  "http://localhost:1",
  "https://[::1]:3/",
  "http://0.0.0.0:80",
  "http://a.localhost",
])("%s means nothing on other machines, and tells nothing", (url) => {
  expect(innerUrlsOf({ url })).toEqual({ inner: [], loopback: [url] });
});

test.each([
  "https://agents.example/a2a",
  "https://172.32.0.1",
  "https://8.8.8.8",
  "https://[2001:db8::1]/",
  "https://internal.example",
  "https://localhost.example/",
  "urn:a2a:extension",
  "Call 10.0.0.1 at once",
  "Acme",
  "",
])("%j is for everybody", (url) => {
  expect(innerUrlsOf({ url, name: url })).toEqual({ inner: [], loopback: [] });
});

test("every text of a card is looked at, once; a bare host and port where a URL is expected", () => {
  const card = {
    name: "Desk",
    iconUrl: "https://cdn.example/icon.png",
    provider: { url: "https://intranet.corp" },
    supportedInterfaces: [{ url: "10.0.0.5:50051" }, { url: "https://intranet.corp" }, { url: "agents.example:443" }],
    skills: [{ examples: ["see http://10.0.0.9"], tags: ["10.0.0.5:50051"] }],
  };
  expect(innerUrlsOf(card).inner).toEqual(["https://intranet.corp", "10.0.0.5:50051", "http://10.0.0.9"]);
  expect(innerUrlsOf([null, 1, true, [["http://10.0.0.1"]]]).inner).toEqual(["http://10.0.0.1"]);
});

test.each([
  ["see http://10.0.0.9", "http://10.0.0.9"],
  ["(see http://10.0.0.9:8080/a?b=c#d).", "http://10.0.0.9:8080"],
  ["**http://desk.corp.internal**, at night", "http://desk.corp.internal"],
  ["the desk:\nhttps://desk.", "https://desk"],
  ["1http://me:secret@10.0.0.9, or ring", "http://me:secret@10.0.0.9"],
  ["https://agents.example/?next=http://192.168.0.1/x", "http://192.168.0.1"],
  ["ring grpc://[fd00::1]:50051!", "grpc://[fd00::1]:50051"],
  ["http://１０.0.0.9 in wide digits", "http://１０.0.0.9"],
  ["in octal http://012.0.0.1.", "http://012.0.0.1"],
])("%j tells it in passing [AAP-24]", (description, url) => {
  expect(innerUrlsOf({ description })).toEqual({ inner: [url], loopback: [] });
});

test("a text may name several, those of this machine apart", () => {
  const text =
    "http://localhost:3/ here, http://10.0.0.9 there, https://agents.example for all; file:///etc, a://, ://10.0.0.1";
  expect(innerUrlsOf([text])).toEqual({ inner: ["http://10.0.0.9"], loopback: ["http://localhost:3"] });
});
