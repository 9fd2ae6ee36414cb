/** Every method of every service of the .proto files, called on the running services (AGP-14). */
import type { DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { CausewayError } from "@causeway/core-base";
import * as wire from "@causeway/core-wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { calling } from "./adversary/calls.ts";
import { configOf, enrol } from "./adversary/credentials.ts";
import { startWorld, type World } from "./world.ts";

const services = Object.values(wire)
  .flatMap((module) => (typeof module === "object" && module !== null ? Object.values(module as object) : []))
  .filter((each): each is DescService => (each as { kind?: unknown })?.kind === "service")
  .filter((each) => each.typeName.startsWith("causeway."));

let world: World;
let agent: IdentityKeeper;

beforeAll(async () => {
  world = await startWorld();
  agent = await enrol(world, "blue.example/people/caller");
}, 120_000);

afterAll(async () => {
  await agent?.stop();
  await world?.[Symbol.asyncDispose]();
});

/** Which process serves a service. */
function urlOf(service: DescService): string {
  const config = configOf(world, "blue.example/");
  const name = service.typeName.split(".")[1];
  const url = name === "aca" ? config.authority.url : name === "ars" ? config.registry?.url : config.gateways[0]?.url;
  if (url === undefined) throw new Error(`nobody serves ${service.typeName}`);
  return url;
}

type Call = (input: unknown, options: { signal: AbortSignal }) => unknown;

async function* oneEmpty(): AsyncGenerator<object> {
  yield {};
}

/** The first answer to an empty request: a message, or the code of the refusal. */
async function firstAnswer(service: DescService, method: DescMethod, caller: IdentityKeeper): Promise<object | string> {
  const identity = { url: urlOf(service), tls: caller.identity.tls(), trust: caller.trust };
  const stop = new AbortController();
  try {
    return await calling(service, identity, async (client) => {
      const call = (client as unknown as Record<string, Call>)[method.localName];
      const isManyIn = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
      const answer = call?.(isManyIn ? oneEmpty() : {}, { signal: stop.signal });
      if (method.methodKind === "unary" || method.methodKind === "client_streaming") return (await answer) as object;
      const answers = (answer as AsyncIterable<object>)[Symbol.asyncIterator]();
      // A stream that stands and has nothing to say yet is an answer too.
      const silence = new Promise<"stands">((resolve) => setTimeout(resolve, 1_000, "stands"));
      const first = await Promise.race([answers.next(), silence]);
      stop.abort();
      return first === "stands" ? { stands: true } : first.done === true ? { ended: true } : (first.value as object);
    });
  } catch (thrown) {
    return CausewayError.from(thrown).code;
  }
}

const isMessage = (answer: object, output: DescMessage): boolean =>
  "stands" in answer || "ended" in answer || (answer as { $typeName?: string }).$typeName === output.typeName;

describe("every method of every service answers, or refuses with a code of the error table [AGP-14]", () => {
  test("there are services to test", () => {
    expect(services.map((each) => each.typeName).sort()).toEqual([
      "causeway.aap.v1.DiscoveryService",
      "causeway.aca.v1.AuthorityService",
      "causeway.admin.v1.GatewayAdminService",
      "causeway.admin.v1.LimitsService",
      "causeway.admin.v1.MetricsService",
      "causeway.agp.v1.AgentGatewayService",
      "causeway.amsp.v1.SyncService",
      "causeway.ars.v1.RegistryService",
    ]);
  });

  for (const service of services) {
    for (const method of service.methods) {
      test(`${service.typeName}/${method.name}, asked by an agent`, { timeout: 60_000 }, async () => {
        const answer = await firstAnswer(service, method, agent);
        if (typeof answer === "object") expect(isMessage(answer, method.output)).toBe(true);
        else {
          expect(answer).toMatch(/^CAUSEWAY_/);
          expect(["CAUSEWAY_INTERNAL", "CAUSEWAY_UNREACHABLE", "CAUSEWAY_UNSUPPORTED"]).not.toContain(answer);
        }
        if (service.typeName.startsWith("causeway.admin.")) expect(answer).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
      });
    }
  }
});
