/** Official MLS vectors of single functions (mlswg/mls-implementations, test-vectors.md): codec, arithmetic, crypto. */
import { decodeAuthenticatedContent } from "ts-mls/authenticatedContent.js";
import { determineLength } from "ts-mls/codec/variableLength.js";
import { decodeCommit, encodeCommit } from "ts-mls/commit.js";
import { type CiphersuiteImpl } from "ts-mls/crypto/ciphersuite.js";
import { refhash } from "ts-mls/crypto/hash.js";
import { decryptWithLabel, encryptWithLabel } from "ts-mls/crypto/hpke.js";
import { deriveSecret, deriveTreeSecret, expandWithLabel } from "ts-mls/crypto/kdf.js";
import { signWithLabel, verifyWithLabel } from "ts-mls/crypto/signature.js";
import { verifyConfirmationTag } from "ts-mls/framedContent.js";
import { encodeGroupContext, type GroupContext } from "ts-mls/groupContext.js";
import { extractWelcomeSecret } from "ts-mls/groupInfo.js";
import { decodeGroupSecrets, encodeGroupSecrets } from "ts-mls/groupSecrets.js";
import { deriveKeySchedule, initializeEpoch, mlsExporter } from "ts-mls/keySchedule.js";
import { decodeMlsMessage, encodeMlsMessage } from "ts-mls/message.js";
import { computePskSecret } from "ts-mls/presharedkey.js";
import * as proposals from "ts-mls/proposal.js";
import { decodeRatchetTree, encodeRatchetTree } from "ts-mls/ratchetTree.js";
import { createSecretTree, deriveKey, deriveNonce, ratchetUntil } from "ts-mls/secretTree.js";
import { expandSenderDataKey, expandSenderDataNonce } from "ts-mls/sender.js";
import { createConfirmedHash, createInterimHash } from "ts-mls/transcriptHash.js";
import * as math from "ts-mls/treemath.js";
import { holds, numberOf, same, type Vector } from "./vector.ts";

const retention = { retainKeysForGenerations: 10, retainKeysForEpochs: 4, maximumForwardRatchetSteps: 1_000 };

export async function checkDeserialization(vector: Vector): Promise<void> {
  const { length } = determineLength(vector.bytes("vlbytes_header"), 0);
  holds("the length", length === vector.number("length"));
}

export async function checkTreeMath(vector: Vector): Promise<void> {
  const leaves = vector.number("n_leaves");
  holds("n_nodes", math.nodeWidth(leaves) === vector.number("n_nodes"));
  holds("root", math.root(leaves) === vector.number("root"));
  const orNull = (of: () => number): number | null => {
    try {
      return of();
    } catch {
      // The library throws where the vector has null: a leaf has no children, the root no parent.
      return null;
    }
  };
  for (let i = 0; i < vector.number("n_nodes"); i++) {
    const node = math.toNodeIndex(i);
    const expected = (key: string): unknown => vector.list(key)[i];
    holds(`left of ${i}`, orNull(() => math.left(node)) === expected("left"));
    holds(`right of ${i}`, orNull(() => math.right(node)) === expected("right"));
    holds(`parent of ${i}`, orNull(() => math.parent(node, leaves)) === expected("parent"));
    holds(`sibling of ${i}`, orNull(() => math.sibling(node, leaves)) === expected("sibling"));
  }
}

export async function checkCryptoBasics(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const { hash, hpke, kdf, signature } = impl;
  const ref = vector.part("ref_hash");
  same("ref_hash", await refhash(ref.text("label"), ref.bytes("value"), hash), ref.bytes("out"));
  const expand = vector.part("expand_with_label");
  same(
    "expand_with_label",
    await expandWithLabel(
      expand.bytes("secret"),
      expand.text("label"),
      expand.bytes("context"),
      expand.number("length"),
      kdf,
    ),
    expand.bytes("out"),
  );
  const derive = vector.part("derive_secret");
  same("derive_secret", await deriveSecret(derive.bytes("secret"), derive.text("label"), kdf), derive.bytes("out"));
  const tree = vector.part("derive_tree_secret");
  same(
    "derive_tree_secret",
    await deriveTreeSecret(
      tree.bytes("secret"),
      tree.text("label"),
      tree.number("generation"),
      tree.number("length"),
      kdf,
    ),
    tree.bytes("out"),
  );
  const signed = vector.part("sign_with_label");
  const [label, content] = [signed.text("label"), signed.bytes("content")];
  holds(
    "the signature",
    await verifyWithLabel(signed.bytes("pub"), label, content, signed.bytes("signature"), signature),
  );
  const made = await signWithLabel(signed.bytes("priv"), label, content, signature);
  holds("an own signature", await verifyWithLabel(signed.bytes("pub"), label, content, made, signature));
  const sealed = vector.part("encrypt_with_label");
  const privateKey = await hpke.importPrivateKey(sealed.bytes("priv"));
  const publicKey = await hpke.importPublicKey(sealed.bytes("pub"));
  const [purpose, context, plaintext] = [sealed.text("label"), sealed.bytes("context"), sealed.bytes("plaintext")];
  same(
    "decrypt_with_label",
    await decryptWithLabel(privateKey, purpose, context, sealed.bytes("kem_output"), sealed.bytes("ciphertext"), hpke),
    plaintext,
  );
  const { enc, ct } = await encryptWithLabel(publicKey, purpose, context, plaintext, hpke);
  same("an own ciphertext", await decryptWithLabel(privateKey, purpose, context, enc, ct, hpke), plaintext);
}

export async function checkSecretTree(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const sender = vector.part("sender_data");
  const [secret, ciphertext] = [sender.bytes("sender_data_secret"), sender.bytes("ciphertext")];
  same("sender data key", await expandSenderDataKey(impl, secret, ciphertext), sender.bytes("key"));
  same("sender data nonce", await expandSenderDataNonce(impl, secret, ciphertext), sender.bytes("nonce"));
  const leaves = vector.list("leaves");
  const tree = await createSecretTree(leaves.length, vector.bytes("encryption_secret"), impl.kdf);
  for (const [leaf, generations] of leaves.entries()) {
    const node = tree[math.leafToNodeIndex(math.toLeafIndex(leaf))];
    if (node === undefined || !Array.isArray(generations)) throw new Error(`leaf ${leaf} is missing`);
    for (const each of generations as Record<string, unknown>[]) {
      const generation = numberOf(each["generation"], "generation");
      for (const kind of ["application", "handshake"] as const) {
        const [ratchet] = await ratchetUntil(node[kind], generation, retention, impl.kdf);
        const expected = (part: string) => new Uint8Array(Buffer.from(String(each[`${kind}_${part}`]), "hex"));
        same(`${kind} key`, await deriveKey(ratchet.secret, generation, impl), expected("key"));
        same(`${kind} nonce`, await deriveNonce(ratchet.secret, generation, impl), expected("nonce"));
      }
    }
  }
}

export async function checkKeySchedule(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  let initSecret = vector.bytes("initial_init_secret");
  for (const [i, epoch] of vector.parts("epochs").entries()) {
    const context: GroupContext = {
      version: "mls10",
      cipherSuite: impl.name,
      groupId: vector.bytes("group_id"),
      epoch: BigInt(i),
      treeHash: epoch.bytes("tree_hash"),
      confirmedTranscriptHash: epoch.bytes("confirmed_transcript_hash"),
      extensions: [],
    };
    same("group_context", encodeGroupContext(context), epoch.bytes("group_context"));
    const psk = epoch.bytes("psk_secret");
    const secrets = await initializeEpoch(initSecret, epoch.bytes("commit_secret"), context, psk, impl.kdf);
    same("joiner_secret", secrets.joinerSecret, epoch.bytes("joiner_secret"));
    same(
      "welcome_secret",
      await extractWelcomeSecret(secrets.joinerSecret, psk, impl.kdf),
      epoch.bytes("welcome_secret"),
    );
    same("encryption_secret", secrets.encryptionSecret, epoch.bytes("encryption_secret"));
    const [schedule] = await deriveKeySchedule(secrets.joinerSecret, psk, context, impl.kdf);
    same("init_secret", schedule.initSecret, epoch.bytes("init_secret"));
    same("sender_data_secret", schedule.senderDataSecret, epoch.bytes("sender_data_secret"));
    same("exporter_secret", schedule.exporterSecret, epoch.bytes("exporter_secret"));
    same("epoch_authenticator", schedule.epochAuthenticator, epoch.bytes("epoch_authenticator"));
    same("external_secret", schedule.externalSecret, epoch.bytes("external_secret"));
    same("confirmation_key", schedule.confirmationKey, epoch.bytes("confirmation_key"));
    same("membership_key", schedule.membershipKey, epoch.bytes("membership_key"));
    same("resumption_psk", schedule.resumptionPsk, epoch.bytes("resumption_psk"));
    const external = await impl.hpke.deriveKeyPair(schedule.externalSecret);
    same("external_pub", await impl.hpke.exportPublicKey(external.publicKey), epoch.bytes("external_pub"));
    const exporter = epoch.part("exporter");
    const label = exporter.text("label");
    same(
      "exporter",
      await mlsExporter(schedule.exporterSecret, label, exporter.bytes("context"), exporter.number("length"), impl),
      exporter.bytes("secret"),
    );
    initSecret = schedule.initSecret;
  }
}

export async function checkPskSecret(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const psks = vector
    .parts("psks")
    .map((each): Parameters<typeof computePskSecret>[0][number] => [
      { psktype: "external", pskId: each.bytes("psk_id"), pskNonce: each.bytes("psk_nonce") },
      each.bytes("psk"),
    ]);
  same("psk_secret", await computePskSecret(psks, impl), vector.bytes("psk_secret"));
}

export async function checkTranscriptHashes(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const content = decodeAuthenticatedContent(vector.bytes("authenticated_content"), 0)?.[0];
  if (content?.auth.contentType !== "commit") throw new Error("expected a commit");
  const { confirmationTag, signature } = content.auth;
  const before = vector.bytes("interim_transcript_hash_before");
  const input = { wireformat: content.wireformat, content: content.content, signature } as Parameters<
    typeof createConfirmedHash
  >[1];
  const confirmed = await createConfirmedHash(before, input, impl.hash);
  same("confirmed_transcript_hash_after", confirmed, vector.bytes("confirmed_transcript_hash_after"));
  const interim = await createInterimHash(confirmed, confirmationTag, impl.hash);
  same("interim_transcript_hash_after", interim, vector.bytes("interim_transcript_hash_after"));
  holds(
    "the confirmation tag",
    await verifyConfirmationTag(vector.bytes("confirmation_key"), confirmationTag, confirmed, impl.hash),
  );
}

type Codec = readonly [
  decode: (bytes: Uint8Array, offset: number) => readonly [unknown, number] | undefined,
  encode: (value: never) => Uint8Array,
];

const codecs: Readonly<Record<string, Codec>> = {
  ratchet_tree: [decodeRatchetTree, encodeRatchetTree],
  group_secrets: [decodeGroupSecrets, encodeGroupSecrets],
  add_proposal: [proposals.decodeAdd, proposals.encodeAdd],
  update_proposal: [proposals.decodeUpdate, proposals.encodeUpdate],
  remove_proposal: [proposals.decodeRemove, proposals.encodeRemove],
  pre_shared_key_proposal: [proposals.decodePSK, proposals.encodePSK],
  re_init_proposal: [proposals.decodeReinit, proposals.encodeReinit],
  external_init_proposal: [proposals.decodeExternalInit, proposals.encodeExternalInit],
  group_context_extensions_proposal: [proposals.decodeGroupContextExtensions, proposals.encodeGroupContextExtensions],
  commit: [decodeCommit, encodeCommit],
};
const messageCodec: Codec = [decodeMlsMessage, encodeMlsMessage];

export async function checkMessages(vector: Vector): Promise<void> {
  for (const key of vector.keys()) {
    const [decode, encode] = codecs[key] ?? messageCodec;
    const bytes = vector.bytes(key);
    const decoded = decode(bytes, 0);
    if (decoded === undefined) throw new Error(`${key} does not decode`);
    same(key, encode(decoded[0] as never), bytes);
  }
}
