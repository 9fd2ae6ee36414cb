/** Official MLS vectors of whole operations (mlswg/mls-implementations, test-vectors.md): trees, messages, clients. */
import { defaultClientConfig } from "ts-mls/clientConfig.js";
import { type ClientState, joinGroup, makePskIndex } from "ts-mls/clientState.js";
import { decodeCommit, encodeCommit } from "ts-mls/commit.js";
import { applyUpdatePathSecret } from "ts-mls/createCommit.js";
import type { CiphersuiteImpl } from "ts-mls/crypto/ciphersuite.js";
import { deriveSecret } from "ts-mls/crypto/kdf.js";
import { createConfirmationTag, createContentCommitSignature } from "ts-mls/framedContent.js";
import type { GroupContext } from "ts-mls/groupContext.js";
import { verifyGroupInfoConfirmationTag, verifyGroupInfoSignature } from "ts-mls/groupInfo.js";
import { decodeKeyPackage, type KeyPackage, makeKeyPackageRef } from "ts-mls/keyPackage.js";
import { verifyLeafNodeSignature, verifyLeafNodeSignatureKeyPackage } from "ts-mls/leafNode.js";
import { decodeMlsMessage, type MLSMessage } from "ts-mls/message.js";
import { protect, protectApplicationData, protectProposal, unprotectPrivateMessage } from "ts-mls/messageProtection.js";
import { protectProposalPublic, protectPublicMessage, unprotectPublicMessage } from "ts-mls/messageProtectionPublic.js";
import { verifyParentHashes } from "ts-mls/parentHash.js";
import { getCommitSecret, pathToRoot } from "ts-mls/pathSecrets.js";
import { processPrivateMessage, processPublicMessage } from "ts-mls/processMessages.js";
import { decodeProposal, encodeProposal } from "ts-mls/proposal.js";
import {
  addLeafNode,
  decodeRatchetTree,
  encodeRatchetTree,
  type RatchetTree,
  removeLeafNode,
  resolution,
  updateLeafNode,
} from "ts-mls/ratchetTree.js";
import { createSecretTree } from "ts-mls/secretTree.js";
import { treeHash, treeHashRoot } from "ts-mls/treeHash.js";
import { toLeafIndex, toNodeIndex } from "ts-mls/treemath.js";
import { applyUpdatePath, createUpdatePath, decodeUpdatePath, type UpdatePath } from "ts-mls/updatePath.js";
import { decryptGroupInfo, decryptGroupSecrets } from "ts-mls/welcome.js";
import { fromHex, holds, same, textOf, type Vector } from "./vector.ts";

const none = new Uint8Array();
const { keyRetentionConfig, paddingConfig } = defaultClientConfig;

export async function checkWelcome(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const message = mlsMessage(vector.bytes("welcome"));
  if (message.wireformat !== "mls_welcome") throw new Error("expected a welcome");
  const keyPackage = keyPackageOf(vector.bytes("key_package"));
  const privateKey = await impl.hpke.importPrivateKey(vector.bytes("init_priv"));
  const secrets = await decryptGroupSecrets(
    privateKey,
    await makeKeyPackageRef(keyPackage, impl.hash),
    message.welcome,
    impl.hpke,
  );
  if (secrets === undefined) throw new Error("the group secrets do not decode");
  const psk = new Uint8Array(impl.kdf.size);
  const info = await decryptGroupInfo(message.welcome, secrets.joinerSecret, psk, impl);
  if (info === undefined) throw new Error("the group info does not decode");
  holds("the signature", await verifyGroupInfoSignature(info, vector.bytes("signer_pub"), impl.signature));
  holds("the confirmation tag", await verifyGroupInfoConfirmationTag(info, secrets.joinerSecret, psk, impl));
}

export async function checkTreeOperations(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const before = treeOf(vector.bytes("tree_before"));
  same("tree_hash_before", await treeHashRoot(before, impl.hash), vector.bytes("tree_hash_before"));
  const proposal = decodeProposal(vector.bytes("proposal"), 0)?.[0];
  if (proposal === undefined) throw new Error("the proposal does not decode");
  let after: RatchetTree;
  if (proposal.proposalType === "add" && "add" in proposal)
    [after] = addLeafNode(before, proposal.add.keyPackage.leafNode);
  else if (proposal.proposalType === "remove" && "remove" in proposal)
    after = removeLeafNode(before, toLeafIndex(proposal.remove.removed));
  else if (proposal.proposalType === "update" && "update" in proposal) {
    after = updateLeafNode(before, proposal.update.leafNode, toLeafIndex(vector.number("proposal_sender")));
  } else throw new Error("expected add, remove or update");
  same("tree_after", encodeRatchetTree(after), vector.bytes("tree_after"));
  same("tree_hash_after", await treeHashRoot(after, impl.hash), vector.bytes("tree_hash_after"));
}

export async function checkTreeValidation(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const tree = treeOf(vector.bytes("tree"));
  const groupId = vector.bytes("group_id");
  for (const [i, expected] of vector.list("tree_hashes").entries()) {
    same(`tree hash ${i}`, await treeHash(tree, toNodeIndex(i), impl.hash), fromHex(textOf(expected, "tree_hashes")));
  }
  for (const [i, expected] of vector.list("resolutions").entries()) {
    holds(`resolution ${i}`, JSON.stringify(resolution(tree, toNodeIndex(i))) === JSON.stringify(expected));
  }
  holds("every parent hash", await verifyParentHashes(tree, impl.hash));
  for (const [i, node] of tree.entries()) {
    if (node?.nodeType !== "leaf") continue;
    const { leaf } = node;
    const valid =
      leaf.leafNodeSource === "key_package"
        ? verifyLeafNodeSignatureKeyPackage(leaf, impl.signature)
        : verifyLeafNodeSignature(leaf, groupId, i / 2, impl.signature);
    holds(`the signature of leaf ${i / 2}`, await valid);
  }
}

export async function checkTreeKem(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const tree = treeOf(vector.bytes("ratchet_tree"));
  const context: GroupContext = {
    version: "mls10",
    cipherSuite: impl.name,
    groupId: vector.bytes("group_id"),
    epoch: BigInt(vector.number("epoch")),
    treeHash: none,
    confirmedTranscriptHash: vector.bytes("confirmed_transcript_hash"),
    extensions: [],
  };
  const leaves = new Map<
    number,
    { readonly signaturePriv: Uint8Array; readonly privateKeys: Record<number, Uint8Array> }
  >();
  for (const leaf of vector.parts("leaves_private")) {
    const index = leaf.number("index");
    const privateKeys: Record<number, Uint8Array> = { [index * 2]: leaf.bytes("encryption_priv") };
    for (const { node, secret } of leaf
      .parts("path_secrets")
      .map((each) => ({ node: each.number("node"), secret: each.bytes("path_secret") }))) {
      const { privateKey, publicKey } = await impl.hpke.deriveKeyPair(await deriveSecret(secret, "node", impl.kdf));
      const parent = tree[node];
      if (parent?.nodeType !== "parent") throw new Error(`node ${node} is not a parent`);
      same(`the public key of node ${node}`, await impl.hpke.exportPublicKey(publicKey), parent.parent.hpkePublicKey);
      privateKeys[node] = await impl.hpke.exportPrivateKey(privateKey);
    }
    leaves.set(index, { signaturePriv: leaf.bytes("signature_priv"), privateKeys });
  }
  const process = async (
    updated: RatchetTree,
    sender: number,
    path: UpdatePath,
    expected: Uint8Array,
    pathSecrets?: readonly unknown[],
  ) => {
    const after = { ...context, treeHash: await treeHashRoot(updated, impl.hash) };
    for (const [index, { privateKeys }] of leaves) {
      if (index === sender) continue;
      const own = { leafIndex: index, privateKeys };
      const { nodeIndex, pathSecret } = await applyUpdatePathSecret(
        updated,
        own,
        toLeafIndex(sender),
        after,
        path,
        [],
        impl,
      );
      const given = pathSecrets?.[index];
      if (given !== undefined) same(`the path secret of ${index}`, pathSecret, fromHex(textOf(given, "path_secrets")));
      const secrets = await pathToRoot(updated, toNodeIndex(nodeIndex), pathSecret, impl.kdf);
      const root = secrets[(updated.length - 1) / 2];
      if (root === undefined) throw new Error("there is no secret for the root");
      same(`the commit secret of ${index}`, await deriveSecret(root, "path", impl.kdf), expected);
    }
  };
  for (const each of vector.parts("update_paths")) {
    const sender = each.number("sender");
    const path = decodeUpdatePath(each.bytes("update_path"), 0)?.[0];
    const signer = leaves.get(sender);
    if (path === undefined || signer === undefined) throw new Error("the update path does not decode");
    const updated = await applyUpdatePath(tree, toLeafIndex(sender), path, impl.hash);
    same("tree_hash_after", await treeHashRoot(updated, impl.hash), each.bytes("tree_hash_after"));
    await process(updated, sender, path, each.bytes("commit_secret"), each.list("path_secrets"));
    const before = { ...context, epoch: context.epoch - 1n };
    const [own, ownPath, secrets] = await createUpdatePath(
      tree,
      toLeafIndex(sender),
      before,
      signer.signaturePriv,
      impl,
    );
    const last = secrets.at(-1);
    if (last === undefined) throw new Error("the own path has no secrets");
    await process(own, sender, ownPath, await getCommitSecret(own, toNodeIndex(last.nodeIndex), last.secret, impl.kdf));
  }
}

export async function checkMessageProtection(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const context: GroupContext = {
    version: "mls10",
    cipherSuite: impl.name,
    groupId: vector.bytes("group_id"),
    epoch: BigInt(vector.number("epoch")),
    treeHash: vector.bytes("tree_hash"),
    confirmedTranscriptHash: vector.bytes("confirmed_transcript_hash"),
    extensions: [],
  };
  const [priv, pub] = [vector.bytes("signature_priv"), vector.bytes("signature_pub")];
  const [senderData, membership] = [vector.bytes("sender_data_secret"), vector.bytes("membership_key")];
  const secretTree = () => createSecretTree(2, vector.bytes("encryption_secret"), impl.kdf);
  const openPrivate = async (message: MLSMessage) => {
    if (message.wireformat !== "mls_private_message") throw new Error("expected a private message");
    return (
      await unprotectPrivateMessage(
        senderData,
        message.privateMessage,
        await secretTree(),
        [],
        context,
        keyRetentionConfig,
        impl,
        pub,
      )
    ).content.content;
  };
  const openPublic = async (message: MLSMessage) => {
    if (message.wireformat !== "mls_public_message") throw new Error("expected a public message");
    return (await unprotectPublicMessage(membership, context, [], message.publicMessage, impl, pub)).content;
  };
  const isProposal = (content: { contentType: string; proposal?: unknown }) =>
    same("proposal", encodeProposal(content.proposal as never), vector.bytes("proposal"));
  const isCommit = (content: { contentType: string; commit?: unknown }) =>
    same("commit", encodeCommit(content.commit as never), vector.bytes("commit"));

  isProposal(await openPublic(mlsMessage(vector.bytes("proposal_pub"))));
  isProposal(await openPrivate(mlsMessage(vector.bytes("proposal_priv"))));
  isCommit(await openPublic(mlsMessage(vector.bytes("commit_pub"))));
  isCommit(await openPrivate(mlsMessage(vector.bytes("commit_priv"))));
  const application = await openPrivate(mlsMessage(vector.bytes("application_priv")));
  if (application.contentType !== "application") throw new Error("expected application data");
  same("application", application.applicationData, vector.bytes("application"));

  const version = "mls10";
  const proposal = decodeProposal(vector.bytes("proposal"), 0)?.[0];
  const commit = decodeCommit(vector.bytes("commit"), 0)?.[0];
  if (proposal === undefined || commit === undefined) throw new Error("proposal or commit does not decode");
  const publicProposal = await protectProposalPublic(priv, membership, context, none, proposal, 1, impl);
  isProposal(await openPublic({ version, wireformat: "mls_public_message", ...publicProposal }));
  const privateProposal = await protectProposal(
    priv,
    senderData,
    proposal,
    none,
    context,
    await secretTree(),
    1,
    paddingConfig,
    impl,
  );
  isProposal(
    await openPrivate({ version, wireformat: "mls_private_message", privateMessage: privateProposal.privateMessage }),
  );
  const data = await protectApplicationData(
    priv,
    senderData,
    vector.bytes("application"),
    none,
    context,
    await secretTree(),
    1,
    paddingConfig,
    impl,
  );
  const opened = await openPrivate({ version, wireformat: "mls_private_message", privateMessage: data.privateMessage });
  if (opened.contentType !== "application") throw new Error("expected application data");
  same("own application data", opened.applicationData, vector.bytes("application"));

  const confirmationTag = await createConfirmationTag(membership, context.confirmedTranscriptHash, impl.hash);
  const sender = { senderType: "member", leafIndex: 1 } as const;
  for (const wireformat of ["mls_public_message", "mls_private_message"] as const) {
    const { framedContent, signature } = await createContentCommitSignature(
      context,
      wireformat,
      commit,
      sender,
      none,
      priv,
      impl.signature,
    );
    const auth = { contentType: "commit" as const, signature, confirmationTag };
    if (wireformat === "mls_public_message") {
      const publicMessage = await protectPublicMessage(
        membership,
        context,
        { wireformat, content: framedContent, auth },
        impl,
      );
      isCommit(await openPublic({ version, wireformat, publicMessage }));
    } else {
      const { privateMessage } = await protect(
        senderData,
        none,
        context,
        await secretTree(),
        { ...framedContent, auth },
        1,
        paddingConfig,
        impl,
      );
      isCommit(await openPrivate({ version, wireformat, privateMessage }));
    }
  }
}

export async function checkPassiveClient(vector: Vector, impl: CiphersuiteImpl): Promise<void> {
  const psks: Record<string, Uint8Array> = {};
  for (const psk of vector.parts("external_psks"))
    psks[Buffer.from(psk.bytes("psk_id")).toString("base64")] = psk.bytes("psk");
  const keyPackage = keyPackageOf(vector.bytes("key_package"));
  const keys = {
    initPrivateKey: vector.bytes("init_priv"),
    hpkePrivateKey: vector.bytes("encryption_priv"),
    signaturePrivateKey: vector.bytes("signature_priv"),
  };
  await belongs("init_priv", keys.initPrivateKey, keyPackage.initKey, impl);
  await belongs("encryption_priv", keys.hpkePrivateKey, keyPackage.leafNode.hpkePublicKey, impl);
  const message = mlsMessage(vector.bytes("welcome"));
  if (message.wireformat !== "mls_welcome") throw new Error("expected a welcome");
  const given = vector.optionalBytes("ratchet_tree");
  let state: ClientState = await joinGroup(
    message.welcome,
    keyPackage,
    keys,
    makePskIndex(undefined, psks),
    impl,
    given === undefined ? undefined : treeOf(given),
  );
  same(
    "initial_epoch_authenticator",
    state.keySchedule.epochAuthenticator,
    vector.bytes("initial_epoch_authenticator"),
  );
  const process = async (bytes: Uint8Array): Promise<void> => {
    const handshake = mlsMessage(bytes);
    const index = makePskIndex(state, psks);
    if (handshake.wireformat === "mls_private_message")
      state = (await processPrivateMessage(state, handshake.privateMessage, index, impl)).newState;
    else if (handshake.wireformat === "mls_public_message")
      state = (await processPublicMessage(state, handshake.publicMessage, index, impl)).newState;
    else throw new Error("expected a handshake message");
  };
  for (const [i, epoch] of vector.parts("epochs").entries()) {
    for (const proposal of epoch.list("proposals")) await process(fromHex(textOf(proposal, "proposals")));
    await process(epoch.bytes("commit"));
    same(`epoch_authenticator ${i}`, state.keySchedule.epochAuthenticator, epoch.bytes("epoch_authenticator"));
  }
}

async function belongs(
  what: string,
  privateKey: Uint8Array,
  publicKey: Uint8Array,
  impl: CiphersuiteImpl,
): Promise<void> {
  const probe = new TextEncoder().encode("probe");
  const { enc, ct } = await impl.hpke.seal(await impl.hpke.importPublicKey(publicKey), probe, none, none);
  same(what, await impl.hpke.open(await impl.hpke.importPrivateKey(privateKey), enc, ct, none, none), probe);
}

function mlsMessage(bytes: Uint8Array): MLSMessage {
  const decoded = decodeMlsMessage(bytes, 0);
  if (decoded === undefined) throw new Error("the message does not decode");
  return decoded[0];
}

/** Key packages come bare or inside an MLSMessage. */
function keyPackageOf(bytes: Uint8Array): KeyPackage {
  const message = decodeMlsMessage(bytes, 0)?.[0];
  if (message?.wireformat === "mls_key_package") return message.keyPackage;
  const bare = decodeKeyPackage(bytes, 0)?.[0];
  if (bare === undefined) throw new Error("the key package does not decode");
  return bare;
}

function treeOf(bytes: Uint8Array): RatchetTree {
  const decoded = decodeRatchetTree(bytes, 0);
  if (decoded === undefined) throw new Error("the tree does not decode");
  return decoded[0];
}
