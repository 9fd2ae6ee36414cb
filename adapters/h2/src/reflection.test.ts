/** Server reflection over the port, in both versions; and the hash of the shown certificate as a channel binding. */
import { createHash } from "node:crypto";
import { connect as connectTls } from "node:tls";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { aca, reflection, reflectionAlpha } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { createTransport, type Link, openLink } from "./index.ts";
import { startPort, TestDomain } from "./testing/world.ts";

const domain = new TestDomain();
const world = () =>
  startPort(domain, { onLink: () => undefined, services: (router) => router.service(aca.AuthorityService, {}) });

test("lists the services of the port, Link included, in both versions of the service [AGP-5]", async () => {
  await using served = await world();
  const transport = createTransport(domain.dial(served.address));
  const expected = [
    "causeway.aca.v1.AuthorityService",
    "causeway.agp.v1.AgentGatewayService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
  ];
  for (const service of [reflection.ServerReflection, reflectionAlpha.ServerReflection]) {
    const client = createClient(service as typeof reflection.ServerReflection, transport);
    const [answer] = await all(
      client.serverReflectionInfo(from({ messageRequest: { case: "listServices", value: "" } })),
    );
    const found = answer?.messageResponse;
    expect(found?.case === "listServicesResponse" && found.value.service.map(({ name }) => name)).toEqual(expected);
  }
  transport.close();
});

test("gives the file of a symbol with all that it imports, and says when there is none [AGP-5]", async () => {
  await using served = await world();
  const transport = createTransport(domain.dial(served.address));
  const client = createClient(reflection.ServerReflection, transport);
  const answers = await all(
    client.serverReflectionInfo(
      from(
        { messageRequest: { case: "fileContainingSymbol", value: "causeway.agp.v1.AgentGatewayService.Link" } },
        { messageRequest: { case: "fileByFilename", value: "causeway/aap/v1/aap.proto" } },
        { messageRequest: { case: "fileContainingSymbol", value: "causeway.none.v1.Nothing" } },
        { messageRequest: { case: "allExtensionNumbersOfType", value: "causeway.agp.v1.Frame" } },
      ),
    ),
  );
  const [link, attachment, nothing, extensions] = answers.map(({ messageResponse }) => messageResponse);
  const names = (found: typeof link): readonly string[] =>
    found?.case === "fileDescriptorResponse"
      ? found.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name)
      : [];
  expect(names(link)[0]).toBe("causeway/agp/v1/agp.proto");
  expect(names(link)).toEqual(expect.arrayContaining(["causeway/aap/v1/aap.proto", "causeway/common/v1/common.proto"]));
  expect(names(attachment)[0]).toBe("causeway/aap/v1/aap.proto");
  expect([nothing?.case, nothing?.case === "errorResponse" && nothing.value.errorCode]).toEqual(["errorResponse", 5]);
  expect([extensions?.case, extensions?.case === "errorResponse" && extensions.value.errorCode]).toEqual([
    "errorResponse",
    12,
  ]);
  transport.close();
});

test("a server's link knows the hash of the certificate that it showed [AAP-62]", async () => {
  const accepted = Promise.withResolvers<Link>();
  await using served = await startPort(domain, { onLink: accepted.resolve });
  const link = await openLink(domain.dial(served.address));
  const shown = await new Promise<Buffer>((resolve, reject) => {
    const socket = connectTls({
      ...domain.clientTls("travel/other"),
      host: served.address.host,
      port: served.address.port,
      ALPNProtocols: ["h2"],
    });
    socket.on("error", reject);
    socket.on("secureConnect", () => {
      resolve(socket.getPeerCertificate().raw);
      socket.destroy();
    });
  });
  const hash = (await accepted.promise).serverEndPoint?.();
  expect(hash && Buffer.from(hash)).toEqual(createHash("sha256").update(shown).digest());
  expect(link.serverEndPoint).toBeUndefined();
  link.close();
});

async function* from<T>(...requests: readonly T[]): AsyncIterable<T> {
  yield* requests;
}

async function all<T>(answers: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const answer of answers) found.push(answer);
  return found;
}
