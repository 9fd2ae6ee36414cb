/**
 * Makes the vectors in `vectors/mls`: lengths from the text of RFC 9420 section 2.1.2, tree arithmetic written after
 * its appendix C, and cryptography and a passive client made with the library's own WebCrypto provider, which shares
 * no code with ours. Run once; the result is committed, so that a change of library or provider shows.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ClientState, createGroup } from "ts-mls/clientState.js";
import { createCommit } from "ts-mls/createCommit.js";
import { getCiphersuiteFromName } from "ts-mls/crypto/ciphersuite.js";
import { refhash } from "ts-mls/crypto/hash.js";
import { encryptWithLabel } from "ts-mls/crypto/hpke.js";
import { defaultCryptoProvider } from "ts-mls/crypto/implementation/default/provider.js";
import { deriveSecret, deriveTreeSecret, expandWithLabel } from "ts-mls/crypto/kdf.js";
import { signWithLabel } from "ts-mls/crypto/signature.js";
import { encodeKeyPackage, generateKeyPackage } from "ts-mls/keyPackage.js";
import { encodeMlsMessage } from "ts-mls/message.js";
import type { Proposal } from "ts-mls/proposal.js";
import { ownVectors } from "./mls-vectors.ts";

const impl = await defaultCryptoProvider.getCiphersuiteImpl(
  getCiphersuiteFromName("MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"),
);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
/** That provider keeps signature keys as PKCS #8, whose last 32 bytes are the seed. */
const seed = (key: Uint8Array): string => hex(key.subarray(key.length - 32));
const random = (): Uint8Array => impl.rng.randomBytes(32);

function deserialization(): unknown {
  return [
    { vlbytes_header: "9d7f3e7d", length: 494_878_333 },
    { vlbytes_header: "7bbd", length: 15_293 },
    { vlbytes_header: "25", length: 37 },
  ];
}

function treeMath(leaves: number): unknown {
  const nodes = 2 * leaves - 1;
  const level = (x: number): number => {
    let k = 0;
    while ((x >> k) & 1) k++;
    return k;
  };
  const root = 2 ** Math.floor(Math.log2(nodes)) - 1;
  const left = (x: number) => (level(x) === 0 ? null : x ^ (1 << (level(x) - 1)));
  const right = (x: number) => (level(x) === 0 ? null : x ^ (3 << (level(x) - 1)));
  const parent = (x: number) =>
    x === root ? null : (x | (1 << level(x))) & ~(((x >> (level(x) + 1)) & 1) << (level(x) + 1));
  const sibling = (x: number) => {
    const above = parent(x);
    return above === null ? null : x < above ? right(above) : left(above);
  };
  const of = (rule: (x: number) => number | null) => Array.from({ length: nodes }, (_, x) => rule(x));
  return {
    n_leaves: leaves,
    n_nodes: nodes,
    root,
    left: of(left),
    right: of(right),
    parent: of(parent),
    sibling: of(sibling),
  };
}

async function cryptoBasics(): Promise<unknown> {
  const [secret, value, context] = [random(), random(), random()];
  const keys = await impl.signature.keygen();
  const kem = await impl.hpke.generateKeyPair();
  const sealed = await encryptWithLabel(kem.publicKey, "Sealed", context, value, impl.hpke);
  const signature = await signWithLabel(keys.signKey, "Signed", value, impl.signature);
  return {
    cipher_suite: 1,
    ref_hash: { label: "Reference", value: hex(value), out: hex(await refhash("Reference", value, impl.hash)) },
    expand_with_label: {
      secret: hex(secret),
      label: "Expanded",
      context: hex(context),
      length: 50,
      out: hex(await expandWithLabel(secret, "Expanded", context, 50, impl.kdf)),
    },
    derive_secret: { secret: hex(secret), label: "Derived", out: hex(await deriveSecret(secret, "Derived", impl.kdf)) },
    derive_tree_secret: {
      secret: hex(secret),
      label: "Tree",
      generation: 259,
      length: 16,
      out: hex(await deriveTreeSecret(secret, "Tree", 259, 16, impl.kdf)),
    },
    sign_with_label: {
      priv: seed(keys.signKey),
      pub: hex(keys.publicKey),
      label: "Signed",
      content: hex(value),
      signature: hex(signature),
    },
    encrypt_with_label: {
      priv: hex(await impl.hpke.exportPrivateKey(kem.privateKey)),
      pub: hex(await impl.hpke.exportPublicKey(kem.publicKey)),
      label: "Sealed",
      context: hex(context),
      plaintext: hex(value),
      kem_output: hex(sealed.enc),
      ciphertext: hex(sealed.ct),
    },
  };
}

async function member(name: string) {
  const capabilities = {
    versions: ["mls10" as const],
    ciphersuites: [impl.name],
    extensions: [],
    proposals: [],
    credentials: ["basic" as const],
  };
  const lifetime = { notBefore: 0n, notAfter: 9_223_372_036_854_775_807n };
  return generateKeyPackage({ credentialType: "basic", identity: Buffer.from(name) }, capabilities, lifetime, [], impl);
}

async function passiveClient(): Promise<unknown> {
  const [owner, client] = [await member("owner"), await member("client")];
  let state: ClientState = await createGroup(
    Buffer.from("own vectors"),
    owner.publicPackage,
    owner.privatePackage,
    [],
    impl,
  );
  const commit = async (extraProposals: Proposal[], wireAsPublicMessage = false) => {
    const result = await createCommit(
      { state, cipherSuite: impl },
      { extraProposals, wireAsPublicMessage, ratchetTreeExtension: true },
    );
    state = result.newState;
    return result;
  };
  const add = async (name: string): Promise<Proposal> => ({
    proposalType: "add",
    add: { keyPackage: (await member(name)).publicPackage },
  });
  await commit([await add("first"), await add("second")]);
  await commit([]);
  const { welcome } = await commit([{ proposalType: "add", add: { keyPackage: client.publicPackage } }]);
  if (welcome === undefined) throw new Error("there is no welcome");
  const initial = hex(state.keySchedule.epochAuthenticator);
  const epochs: unknown[] = [];
  const steps: readonly [Proposal[], boolean][] = [
    [[], false],
    [[await add("third"), await add("fourth")], true],
    [[{ proposalType: "remove", remove: { removed: 1 } }], false],
    [[await add("fifth")], false],
    [[{ proposalType: "remove", remove: { removed: 4 } }, await add("sixth")], true],
  ];
  for (const [proposals, wireAsPublic] of steps) {
    const { commit: message } = await commit(proposals, wireAsPublic);
    epochs.push({
      proposals: [],
      commit: hex(encodeMlsMessage(message)),
      epoch_authenticator: hex(state.keySchedule.epochAuthenticator),
    });
  }
  return {
    cipher_suite: 1,
    external_psks: [],
    key_package: hex(encodeKeyPackage(client.publicPackage)),
    signature_priv: seed(client.privatePackage.signaturePrivateKey),
    encryption_priv: hex(client.privatePackage.hpkePrivateKey),
    init_priv: hex(client.privatePackage.initPrivateKey),
    welcome: hex(encodeMlsMessage({ version: "mls10", wireformat: "mls_welcome", welcome })),
    ratchet_tree: null,
    initial_epoch_authenticator: initial,
    epochs,
  };
}

const write = (name: string, vectors: unknown): void =>
  writeFileSync(join(ownVectors, `${name}.json`), `${JSON.stringify(vectors, null, 1)}\n`);
write("deserialization", deserialization());
write("tree-math", [1, 2, 4, 8, 16].map(treeMath));
write("crypto-basics", [await cryptoBasics()]);
write("passive-client", [await passiveClient()]);
