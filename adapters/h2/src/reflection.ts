/**
 * gRPC's server reflection for the services of a port, so that tools such as grpcurl work without the `.proto` files.
 * Schemas are public; what a caller may do with a service is decided by the service.
 */

import type { DescFile, DescService } from "@bufbuild/protobuf";
import { toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { health, reflection, reflectionAlpha } from "@causeway/core-wire";
import { Code, type ConnectRouter } from "@connectrpc/connect";

/** Both versions of the service, over the schema of `services`. */
export function reflectionRoutes(services: () => readonly DescService[]): (router: ConnectRouter) => void {
  let schema: Schema | undefined;
  const answer = (request: reflection.ServerReflectionRequest): Answer => {
    schema ??= new Schema([
      ...services(),
      health.Health,
      reflection.ServerReflection,
      reflectionAlpha.ServerReflection,
    ]);
    return { validHost: request.host, messageResponse: schema.answer(request.messageRequest) };
  };
  return (router) => {
    router.service(reflection.ServerReflection, {
      async *serverReflectionInfo(requests) {
        for await (const request of requests) yield { ...answer(request), originalRequest: request };
      },
    });
    router.service(reflectionAlpha.ServerReflection, {
      async *serverReflectionInfo(requests) {
        for await (const request of requests) {
          const { host, messageRequest } = request;
          yield {
            ...answer({ $typeName: "grpc.reflection.v1.ServerReflectionRequest", host, messageRequest } as never),
            originalRequest: request,
          };
        }
      },
    });
  };
}

type Question = reflection.ServerReflectionRequest["messageRequest"];

interface Answer {
  readonly validHost: string;
  readonly messageResponse:
    | { readonly case: "listServicesResponse"; readonly value: { readonly service: { readonly name: string }[] } }
    | { readonly case: "fileDescriptorResponse"; readonly value: { readonly fileDescriptorProto: Uint8Array[] } }
    | {
        readonly case: "errorResponse";
        readonly value: { readonly errorCode: number; readonly errorMessage: string };
      };
}

class Schema {
  readonly #services: readonly string[];
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();

  constructor(services: readonly DescService[]) {
    this.#services = [...new Set(services.map(({ typeName }) => typeName))].sort();
    for (const { file } of services) this.#add(file);
  }

  answer(question: Question): Answer["messageResponse"] {
    switch (question.case) {
      case "listServices":
        return { case: "listServicesResponse", value: { service: this.#services.map((name) => ({ name })) } };
      case "fileByFilename":
        return this.#fileAnswer(this.#files.get(question.value), question.value);
      case "fileContainingSymbol":
        return this.#fileAnswer(this.#symbols.get(question.value.replace(/^\./, "")), question.value);
      default:
        return failure(
          Code.Unimplemented,
          "expected a file, a symbol or the list of services; there are no extensions",
        );
    }
  }

  #fileAnswer(file: DescFile | undefined, asked: string): Answer["messageResponse"] {
    if (file === undefined)
      return failure(Code.NotFound, `nothing here is called ${JSON.stringify(asked.slice(0, 200))}`);
    // With everything that it imports: not every tool asks for the rest.
    const files = [file, ...importsOf(file)];
    const fileDescriptorProto = files.map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
  }

  #add(file: DescFile): void {
    if (this.#files.has(file.proto.name)) return;
    this.#files.set(file.proto.name, file);
    for (const { typeName } of [...file.messages, ...file.enums, ...file.services]) this.#symbols.set(typeName, file);
    for (const { typeName, methods } of file.services)
      for (const { name } of methods) this.#symbols.set(`${typeName}.${name}`, file);
    for (const dependency of file.dependencies) this.#add(dependency);
  }
}

function importsOf(file: DescFile, seen = new Set<DescFile>()): readonly DescFile[] {
  for (const dependency of file.dependencies) {
    if (seen.has(dependency)) continue;
    seen.add(dependency);
    importsOf(dependency, seen);
  }
  return [...seen];
}

const failure = (errorCode: Code, errorMessage: string): Answer["messageResponse"] => ({
  case: "errorResponse",
  value: { errorCode, errorMessage },
});
