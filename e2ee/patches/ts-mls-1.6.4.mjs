// The fixes that the MLS library needs, as data for apply.mjs. Each edit replaces a text that occurs exactly once.
// ts-mls is Copyright (c) 2025 Luka Jacobowitz, MIT licence. What each fix is for: docs/adr/0010-mls-library-fixes.md.

export const packageName = "ts-mls";
export const version = "1.6.4";

const senderDecoderImport = {
  find: `import { decodeExternalSender } from "./externalSender.js";`,
  replace: `import { decodeExternalSenders } from "./externalSender.js";`,
};
const rawExternalPub = `{ extensionType: "external_pub", extensionData: externalPub }`;
const prefixedExternalPub = `{ extensionType: "external_pub", extensionData: encode(varLenDataEncoder)(externalPub) }`;

export const files = [
  {
    path: "dist/src/externalSender.js",
    before: "27e5a4731a2d159cfe588daa341839edaf24c166d39db3cb298116cff8b89e6e",
    after: "957a7785b9e83c81f25c92d8551e65b827a989787e38438be877fed22c7ce930",
    edits: [
      {
        find: `import { decodeVarLenData, varLenDataEncoder } from "./codec/variableLength.js";`,
        replace: `import { decodeVarLenData, decodeVarLenType, varLenDataEncoder } from "./codec/variableLength.js";`,
      },
      {
        find: `(signaturePublicKey, credential) => ({ signaturePublicKey, credential }));\n`,
        replace:
          `(signaturePublicKey, credential) => ({ signaturePublicKey, credential }));\n` +
          `export const decodeExternalSenders = decodeVarLenType(decodeExternalSender);\n`,
      },
    ],
  },
  {
    path: "dist/src/clientState.js",
    before: "63645bc3be6ec7f6d4f6d88af5c0b63e34f5e1fea693c62bd958d228b51b6f61",
    after: "e374907cd06216af8c1218b9c93d3498339420c8666aae49ed1dffffdb90cfd2",
    edits: [
      senderDecoderImport,
      {
        find: `const decoded = decodeExternalSender(externalSender.extensionData, 0);`,
        replace: `const decoded = decodeExternalSenders(externalSender.extensionData, 0);`,
      },
      {
        find:
          `        const validCredential = await authService.validateCredential(decoded[0].credential, decoded[0].signaturePublicKey);\n` +
          `        if (!validCredential)\n` +
          `            return new ValidationError("Could not validate external credential");\n`,
        replace:
          `        for (const sender of decoded[0]) {\n` +
          `            const validCredential = await authService.validateCredential(sender.credential, sender.signaturePublicKey);\n` +
          `            if (!validCredential)\n` +
          `                return new ValidationError("Could not validate external credential");\n` +
          `        }\n`,
      },
      {
        find: `Object.values(grouped.update).length > 0 || Object.values(grouped.remove).length > 0;`,
        replace:
          `Object.values(grouped.update).length > 0 || Object.values(grouped.remove).length > 0 || ` +
          `grouped.group_context_extensions.length > 0;`,
      },
      {
        find: `if (tree[nodeIndex]?.nodeType !== "leaf" && !dp.includes(toNodeIndex(i)))`,
        replace: `if (tree[nodeIndex]?.nodeType !== "leaf" || !dp.includes(toNodeIndex(i)))`,
      },
      {
        find: `                for (const parentIdx of dp) {\n                    const dpNode = tree[parentIdx];\n`,
        replace:
          `                for (const parentIdx of dp) {\n` +
          `                    if (parentIdx === i)\n` +
          `                        break;\n` +
          `                    const dpNode = tree[parentIdx];\n`,
      },
      {
        find: `if (!arraysEqual(dpNode.parent.unmergedLeaves, n.parent.unmergedLeaves))`,
        replace: `if (!dpNode.parent.unmergedLeaves.includes(unmergedLeaf))`,
      },
    ],
  },
  {
    path: "dist/src/createCommit.js",
    before: "2813d68a1457a55470bbb1f2d223e12aa61c69e18a177f920c51cbdccc4bb004",
    after: "d690b47de7b4fe93a151a63824b8179d636eeb5eca814543a91e5e4fdacea7e6",
    edits: [
      {
        find: `import { encode } from "./codec/tlsEncoder.js";`,
        replace:
          `import { encode } from "./codec/tlsEncoder.js";\n` +
          `import { decodeVarLenData, varLenDataEncoder } from "./codec/variableLength.js";`,
      },
      {
        find:
          `? await createUpdatePath(res.tree, toLeafIndex(state.privatePath.leafIndex), state.groupContext, ` +
          `state.signaturePrivateKey, cipherSuite, excludeNodes)`,
        replace:
          `? await createUpdatePath(res.tree, toLeafIndex(state.privatePath.leafIndex), ` +
          `res.additionalResult.kind === "memberCommit" && res.additionalResult.extensions.length > 0 ` +
          `? { ...state.groupContext, extensions: res.additionalResult.extensions } : state.groupContext, ` +
          `state.signaturePrivateKey, cipherSuite, excludeNodes)`,
      },
      { find: `[...extensions, ${rawExternalPub}]`, replace: `[...extensions, ${prefixedExternalPub}]` },
      { find: `        ${rawExternalPub},\n`, replace: `        ${prefixedExternalPub},\n` },
      {
        find: `await exportSecret(externalPub.extensionData, cs);`,
        replace: `await exportSecret(decodeExternalPub(externalPub.extensionData), cs);`,
      },
      {
        find: `/** @public */\nexport async function joinGroupExternal(`,
        replace:
          `function decodeExternalPub(data) {\n` +
          `    const decoded = decodeVarLenData(data, 0);\n` +
          `    if (decoded === undefined || decoded[1] !== data.length)\n` +
          `        throw new ValidationError("Could not decode external_pub extension");\n` +
          `    return decoded[0];\n` +
          `}\n` +
          `/** @public */\nexport async function joinGroupExternal(`,
      },
    ],
  },
  {
    path: "dist/src/externalProposal.js",
    before: "b85065de9dba2f4cd3cd5ba24465ceba27703da8189989bc16cd1ae18d8ffbf4",
    after: "d6b384145fde54f3496de47bd7ee7065c2573f94b1482038986624d96df45173",
    edits: [
      senderDecoderImport,
      {
        find:
          `    const externalSenderExtensionIndex = groupInfo.groupContext.extensions.findIndex((ex) => {\n` +
          `        if (ex.extensionType !== "external_senders")\n` +
          `            return false;\n` +
          `        const decoded = decodeExternalSender(ex.extensionData, 0);\n` +
          `        if (decoded === undefined)\n` +
          `            throw new ValidationError("Could not decode external_sender extension");\n` +
          `        return constantTimeEqual(decoded[0].signaturePublicKey, signaturePublicKey);\n` +
          `    });\n`,
        replace:
          `    const externalSendersExtension = groupInfo.groupContext.extensions.find((ex) => ex.extensionType === "external_senders");\n` +
          `    const externalSenders = externalSendersExtension === undefined ? [[]] : decodeExternalSenders(externalSendersExtension.extensionData, 0);\n` +
          `    if (externalSenders === undefined)\n` +
          `        throw new ValidationError("Could not decode external_senders extension");\n` +
          `    const externalSenderExtensionIndex = externalSenders[0].findIndex((sender) => constantTimeEqual(sender.signaturePublicKey, signaturePublicKey));\n`,
      },
    ],
  },
  {
    path: "dist/src/publicMessage.js",
    before: "768c1e11fb584c8c27f2ec887b52aa289806513489f98ff8219f1fa7c05b65f6",
    after: "235f6baf5cb13b433c3d0d300c1bca3d9f281922d0ee43964518df40c08173ca",
    edits: [
      senderDecoderImport,
      {
        find:
          `    const externalSenderExtension = externalSenderExtensions[senderIndex];\n` +
          `    if (externalSenderExtension !== undefined) {\n` +
          `        const externalSender = decodeExternalSender(externalSenderExtension.extensionData, 0);\n` +
          `        if (externalSender === undefined)\n` +
          `            throw new CodecError("Could not decode ExternalSender");\n` +
          `        return externalSender[0];\n` +
          `    }\n`,
        replace:
          `    const externalSenderExtension = externalSenderExtensions[0];\n` +
          `    if (externalSenderExtension !== undefined) {\n` +
          `        const externalSenders = decodeExternalSenders(externalSenderExtension.extensionData, 0);\n` +
          `        if (externalSenders === undefined)\n` +
          `            throw new CodecError("Could not decode external_senders");\n` +
          `        return externalSenders[0][senderIndex];\n` +
          `    }\n`,
      },
    ],
  },
  {
    path: "dist/src/secretTree.js",
    before: "00faf2bf2892a70591f99cb520f54c1f1c257ad4bc09f9b72009883573854bc8",
    after: "a06d7e357d8c3a5ba7f155d03009c7197105cf25db3754fa0d52609433613f35",
    edits: [
      {
        find:
          `    const consumed = [];\n` +
          `    let result = { ...current };\n` +
          `    for (let i = 0; i < generationDifference; i++) {\n` +
          `        const nextSecret = await deriveTreeSecret(result.secret, "secret", result.generation, kdf.size, kdf);\n` +
          `        const [updated, old] = updateUnusedGenerations(result, config.retainKeysForGenerations);\n` +
          `        consumed.push(...old);\n` +
          `        result = {\n` +
          `            secret: nextSecret,\n` +
          `            generation: result.generation + 1,\n` +
          `            unusedGenerations: updated,\n` +
          `        };\n` +
          `    }\n` +
          `    return [result, consumed];\n` +
          `}\n` +
          `function updateUnusedGenerations(s, retainGenerationsMax) {\n` +
          `    const withNew = { ...s.unusedGenerations, [s.generation]: s.secret };\n` +
          `    const generations = Object.keys(withNew);\n` +
          `    const result = generations.length >= retainGenerationsMax ? removeOldGenerations(withNew, retainGenerationsMax) : [withNew, []];\n` +
          `    return result;\n` +
          `}\n`,
        replace:
          `    if (generationDifference <= 0)\n` +
          `        return [{ ...current }, []];\n` +
          `    let { secret, generation } = current;\n` +
          `    const unused = { ...current.unusedGenerations };\n` +
          `    for (let i = 0; i < generationDifference; i++) {\n` +
          `        const nextSecret = await deriveTreeSecret(secret, "secret", generation, kdf.size, kdf);\n` +
          `        unused[generation++] = secret;\n` +
          `        secret = nextSecret;\n` +
          `    }\n` +
          `    const [unusedGenerations, consumed] = removeOldGenerations(unused, config.retainKeysForGenerations);\n` +
          `    return [{ secret, generation, unusedGenerations }, consumed];\n` +
          `}\n`,
      },
    ],
  },
];
