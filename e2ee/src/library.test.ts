/**
 * The defects of the MLS library that `e2ee/patches` fixes (docs/adr/0010). Each test of this file but those of the
 * patch step fails with the library as it is published.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultClientConfig } from "ts-mls/clientConfig.js";
import { type ClientState, createGroup, joinGroup, makePskIndex } from "ts-mls/clientState.js";
import { encode } from "ts-mls/codec/tlsEncoder.js";
import { varLenTypeEncoder } from "ts-mls/codec/variableLength.js";
import { createCommit, createGroupInfoWithExternalPubAndRatchetTree, joinGroupExternal } from "ts-mls/createCommit.js";
import type { CiphersuiteImpl } from "ts-mls/crypto/ciphersuite.js";
import type { Extension } from "ts-mls/extension.js";
import { proposeExternal } from "ts-mls/externalProposal.js";
import { encodeExternalSender, externalSenderEncoder } from "ts-mls/externalSender.js";
import { acceptAll } from "ts-mls/incomingMessageAction.js";
import { generateKeyPackage } from "ts-mls/keyPackage.js";
import type { MLSMessage } from "ts-mls/message.js";
import { processMessage, processPublicMessage } from "ts-mls/processMessages.js";
import type { Proposal } from "ts-mls/proposal.js";
import { emptyPskIndex } from "ts-mls/pskIndex.js";
import { ratchetUntil } from "ts-mls/secretTree.js";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
// @ts-expect-error -- plain JavaScript: it runs before anything is installed
import { applyPatches, installedLibrary } from "../patches/apply.mjs";
// @ts-expect-error -- plain JavaScript: it runs before anything is installed
import { files } from "../patches/ts-mls-1.6.4.mjs";
import { suiteImpl } from "./suites.ts";

let impl: CiphersuiteImpl;
beforeAll(async () => {
  impl = await suiteImpl(1);
});

async function member(name: string) {
  const capabilities = {
    versions: ["mls10" as const],
    ciphersuites: [impl.name],
    extensions: [5],
    proposals: [],
    credentials: ["basic" as const, "x509" as const],
  };
  const lifetime = { notBefore: 0n, notAfter: 9_223_372_036_854_775_807n };
  return generateKeyPackage({ credentialType: "basic", identity: Buffer.from(name) }, capabilities, lifetime, [], impl);
}

/** A group that its first member fills one commit at a time; every joiner validates the tree. */
class Growing {
  states: (ClientState | undefined)[] = [];

  async start(extensions: Extension[] = []): Promise<this> {
    const { publicPackage, privatePackage } = await member("m0");
    this.states = [await createGroup(new Uint8Array([1]), publicPackage, privatePackage, extensions, impl)];
    return this;
  }

  at(index: number): ClientState {
    const state = this.states[index];
    if (state === undefined) throw new Error(`no member ${index}`);
    return state;
  }

  async commit(by: number, proposals: Proposal[]): Promise<MLSMessage> {
    const result = await createCommit(
      { state: this.at(by), cipherSuite: impl },
      { extraProposals: proposals, ratchetTreeExtension: true },
    );
    for (const [i, state] of this.states.entries()) {
      if (i === by || state === undefined || state.groupActiveState.kind !== "active") continue;
      if (result.commit.wireformat !== "mls_private_message") throw new Error("expected a private message");
      this.states[i] = (await processMessage(result.commit, state, emptyPskIndex, acceptAll, impl)).newState;
    }
    this.states[by] = result.newState;
    this.welcome = result.welcome;
    return result.commit;
  }
  welcome: Awaited<ReturnType<typeof createCommit>>["welcome"];

  async add(by: number, index: number): Promise<void> {
    const { publicPackage, privatePackage } = await member(`m${index}`);
    await this.commit(by, [{ proposalType: "add", add: { keyPackage: publicPackage } }]);
    if (this.welcome === undefined) throw new Error("no welcome");
    this.states[index] = await joinGroup(this.welcome, publicPackage, privatePackage, emptyPskIndex, impl);
  }
}

describe("external join", () => {
  test("group info has external_pub with its length, and a joiner reads it so", async () => {
    const group = await new Growing().start();
    await group.add(0, 1);
    const info = await createGroupInfoWithExternalPubAndRatchetTree(group.at(0), [], impl);
    const external = info.extensions.find((each) => each.extensionType === "external_pub");
    expect(external?.extensionData).toHaveLength(33);
    expect(external?.extensionData[0]).toBe(32);
    const joiner = await member("joiner");
    const { publicMessage, newState } = await joinGroupExternal(
      info,
      joiner.publicPackage,
      joiner.privatePackage,
      false,
      impl,
    );
    for (const i of [0, 1]) {
      const processed = await processPublicMessage(group.at(i), publicMessage, makePskIndex(group.at(i), {}), impl);
      expect(processed.newState.keySchedule.epochAuthenticator).toEqual(newState.keySchedule.epochAuthenticator);
    }
  });
});

describe("external senders", () => {
  test("are a list, all of which are validated and may propose", async () => {
    const senders = [await member("gateway one"), await member("gateway two")].map(
      ({ publicPackage, privatePackage }) => ({
        sender: {
          credential: publicPackage.leafNode.credential,
          signaturePublicKey: publicPackage.leafNode.signaturePublicKey,
        },
        privatePackage,
      }),
    );
    const extension: Extension = {
      extensionType: "external_senders",
      extensionData: encode(varLenTypeEncoder(externalSenderEncoder))(senders.map((each) => each.sender)),
    };
    const group = await new Growing().start([extension]);
    await group.add(0, 1);
    const validated: string[] = [];
    const authService = {
      async validateCredential(credential: { credentialType: string; identity?: Uint8Array }) {
        validated.push(Buffer.from(credential.identity ?? []).toString());
        return true;
      },
    };
    const owner = await member("owner");
    await createGroup(new Uint8Array([2]), owner.publicPackage, owner.privatePackage, [extension], impl, {
      ...defaultClientConfig,
      authService,
    });
    expect(validated).toEqual(["gateway one", "gateway two"]);
    const info = await createGroupInfoWithExternalPubAndRatchetTree(group.at(0), [], impl);
    const second = senders[1];
    if (second === undefined) throw new Error("no sender");
    const removal: Proposal = { proposalType: "remove", remove: { removed: 1 } };
    const { signaturePublicKey } = second.sender;
    const message = await proposeExternal(
      info,
      removal,
      signaturePublicKey,
      second.privatePackage.signaturePrivateKey,
      impl,
    );
    if (message.wireformat !== "mls_public_message") throw new Error("expected a public message");
    const { newState } = await processPublicMessage(group.at(0), message.publicMessage, emptyPskIndex, impl);
    expect(Object.keys(newState.unappliedProposals)).toHaveLength(1);
  });

  test("are not decoded from a single sender without the length of the list", async () => {
    const { publicPackage, privatePackage } = await member("m0");
    const { credential, signaturePublicKey } = publicPackage.leafNode;
    const extensionData = encodeExternalSender({ credential, signaturePublicKey });
    const extension: Extension = { extensionType: "external_senders", extensionData };
    await expect(createGroup(new Uint8Array([3]), publicPackage, privatePackage, [extension], impl)).rejects.toThrow();
  });
});

test("a commit that changes the group context extensions has a path", async () => {
  const group = await new Growing().start();
  await group.add(0, 1);
  const proposal: Proposal = { proposalType: "group_context_extensions", groupContextExtensions: { extensions: [] } };
  const { commit } = await createCommit(
    { state: group.at(0), cipherSuite: impl },
    { extraProposals: [proposal], wireAsPublicMessage: true },
  );
  if (commit.wireformat !== "mls_public_message" || commit.publicMessage.content.contentType !== "commit")
    throw new Error("expected a commit");
  expect(commit.publicMessage.content.commit.path).toBeDefined();
  await expect(processPublicMessage(group.at(1), commit.publicMessage, emptyPskIndex, impl)).resolves.toBeDefined();
});

test("a joiner accepts a tree whose nodes have different unmerged leaves", async () => {
  const group = await new Growing().start();
  for (let i = 1; i <= 5; i++) await group.add(i - 1, i);
  for (const by of [0, 2, 4]) await group.commit(by, []);
  await group.commit(0, [{ proposalType: "remove", remove: { removed: 3 } }]);
  group.states[3] = undefined;
  for (const by of [0, 2, 4]) await group.commit(by, []);
  await group.add(0, 3);
  await group.add(0, 6);
  const secrets = group.states
    .filter((each) => each !== undefined)
    .map((each) => Buffer.from(each.keySchedule.epochAuthenticator).toString("hex"));
  expect(secrets).toHaveLength(7);
  expect(new Set(secrets).size).toBe(1);
});

test("a message that skips others costs a step for each of them, and no work on all that are kept", async () => {
  const kept = 50;
  const config = { retainKeysForGenerations: kept, retainKeysForEpochs: 4, maximumForwardRatchetSteps: 1_000 };
  const start = { secret: new Uint8Array(impl.kdf.size), generation: 0, unusedGenerations: {} };
  const [full] = await ratchetUntil(start, kept, config, impl.kdf);
  const sort = vi.spyOn(Array.prototype, "sort");
  const [ahead, consumed] = await ratchetUntil(full, 10 * kept, config, impl.kdf);
  const sorted = sort.mock.calls.length;
  sort.mockRestore();
  expect(sorted).toBeLessThanOrEqual(1);
  expect(Object.keys(ahead.unusedGenerations).map(Number)).toEqual(
    Array.from({ length: kept }, (_, n) => 9 * kept + n),
  );
  expect(consumed).toHaveLength(9 * kept);
  // The same secrets as by single steps.
  let single = full;
  for (let n = kept + 1; n <= 10 * kept; n++) [single] = await ratchetUntil(single, n, config, impl.kdf);
  expect(single).toEqual(ahead);
});

describe("the patch step", () => {
  const made: string[] = [];
  afterEach(() => {
    for (const directory of made.splice(0)) rmSync(directory, { recursive: true });
  });
  /** The library as it is published, without its type declarations. */
  function published(): string {
    const directory = mkdtempSync(join(tmpdir(), "causeway-mls-"));
    made.push(directory);
    const installed: string = installedLibrary();
    cpSync(join(installed, "package.json"), join(directory, "package.json"));
    for (const file of files) {
      let text = readFileSync(join(installed, file.path), "utf8");
      for (const { find, replace } of [...file.edits].reverse()) text = text.replace(replace, () => find);
      cpSync(join(installed, file.path), join(directory, file.path), { recursive: true });
      writeFileSync(join(directory, file.path), text);
    }
    return directory;
  }

  test("brings the published files to the fixed ones, once", () => {
    const directory = published();
    expect(applyPatches(directory)).toHaveLength(files.length);
    expect(applyPatches(directory)).toEqual([]);
    for (const file of files) {
      expect(readFileSync(join(directory, file.path), "utf8")).toBe(
        readFileSync(join(installedLibrary(), file.path), "utf8"),
      );
    }
  });

  test("refuses another version and says what to do", () => {
    const directory = published();
    writeFileSync(join(directory, "package.json"), JSON.stringify({ version: "2.0.0" }));
    expect(() => applyPatches(directory)).toThrow(
      /expected ts-mls 1\.6\.4, found 2\.0\.0.*review whether the new one needs them/s,
    );
  });

  test("refuses files that it does not know and changes none", () => {
    const directory = published();
    const [first, last] = [files[0].path, files.at(-1).path];
    const before = readFileSync(join(directory, first), "utf8");
    writeFileSync(join(directory, last), "// something else");
    expect(() => applyPatches(directory)).toThrow(
      /is neither the file that ts-mls 1\.6\.4 publishes nor the fixed one/,
    );
    expect(readFileSync(join(directory, first), "utf8")).toBe(before);
  });
});
