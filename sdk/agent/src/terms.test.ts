/** What an agent asks of its gateway at attachment, and what it says was agreed. */
import { defaultFeatures, mailboxFeature } from "@causeway/core-attachment";
import { expect, test } from "vitest";
import { codeOf, TestNetwork } from "./testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "green.example/hotels/bob";

test("status says what was agreed with the gateway, and nothing while there is none [AAP-3]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { model: "soft" });
  const features = [...defaultFeatures, mailboxFeature].sort();
  expect(alice.status()).toMatchObject({ state: "attached", model: "stateful", features });
  expect(bob.status()).toMatchObject({
    state: "attached",
    gateway: "spiffe://green.example/gateway/gw",
    model: "soft",
    features,
  });
  network.hub.isUp = false;
  network.hub.cutAll();
  await network.clock.advance(10);
  expect(bob.status()).toMatchObject({ state: "reconnecting", gateway: undefined, model: undefined, features: [] });
});

test("a soft agent refreshes at a third of its lease while it is silent, and not while it sends [AAP-90]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName, { model: "soft" });
  const bob = await network.connect(bobName);
  bob.onMessage(() => undefined);
  let beats = 0;
  let attachments = 0;
  network.hub.onHeartbeat = (agent) => void (agent === alice.id && beats++);
  alice.onEvent(({ type }) => void (type === "attached" && attachments++));
  const leaseMs = alice.status().leaseMs ?? 0;
  await network.clock.advance(4 * leaseMs);
  // A third, with a tenth of jitter either way.
  expect(beats).toBeGreaterThanOrEqual(10);
  expect(beats).toBeLessThanOrEqual(13);
  beats = 0;
  for (let sent = 0; sent < 60; sent++) {
    await network.clock.until(alice.send(bobName, sent));
    await network.clock.advance(leaseMs / 15);
  }
  expect(beats).toBe(0);
  expect([alice.status().state, attachments]).toEqual(["attached", 0]);
});

test("a gateway without a feature that is needed is passed over, with the reason, for one that has it [AAP-60]", async () => {
  const network = new TestNetwork();
  const plain = "https://127.0.0.1:7401";
  const rich = "https://127.0.0.1:7402";
  const alice = await network.connect(aliceName, {
    offers: { [plain]: defaultFeatures, [rich]: [...defaultFeatures, mailboxFeature] },
    requiredFeatures: [mailboxFeature],
  });
  const { chosen, passedOver } = alice.status().discovery;
  expect(chosen?.endpoint).toBe(rich);
  expect(passedOver).toMatchObject([{ method: "static", endpoint: plain }]);
  expect(passedOver[0]?.why).toContain("the gateway stays silent");
});

test("a gateway that is not asked for an offer has to have the needed features too [AAP-60]", async () => {
  const network = new TestNetwork();
  const opened = network.connect(aliceName, { requiredFeatures: ["calls/1"] });
  await expect(opened).rejects.toMatchObject({
    code: "CAUSEWAY_ATTACHMENT_FEATURE_MISSING",
    message: expect.stringMatching(/^expected the features calls\/1, which .*gateway\/gw does not offer$/),
  });
});

test("terms that no gateway could be told are refused before anything is sent", async () => {
  const network = new TestNetwork();
  let frames = 0;
  network.hub.onFrame = () => void frames++;
  for (const wrong of [{ messagesPerSecondMax: -1 }, { messagesPerSecondMax: 2.5 }, { requiredFeatures: ["calls"] }])
    expect(await codeOf(network.connect(aliceName, wrong))).toBe("CAUSEWAY_MISUSE");
  expect(frames).toBe(0);
});
