/** Calls of a service with any certificate. */
import type { DescService } from "@bufbuild/protobuf";
import type { TlsIdentity } from "@causeway/adapter-tls";
import { dialTransport } from "@causeway/agent/transports";
import { CausewayError } from "@causeway/core-base";
import { roles, type TrustStore } from "@causeway/core-identity";
import { type Client, createClient } from "@connectrpc/connect";

/** Calls `work` with a client of the service at `url`; the connection ends with it. */
export async function calling<S extends DescService, T>(
  service: S,
  options: { readonly url: string; readonly tls: TlsIdentity; readonly trust: TrustStore },
  work: (client: Client<S>) => Promise<T>,
): Promise<T> {
  const { url, tls, trust } = options;
  const transport = dialTransport({ url, identity: () => tls, trust, expect: { roles } });
  try {
    return await work(createClient(service, transport));
  } finally {
    transport.close();
  }
}

/** The code with which something fails; throws when it does not. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  let result: unknown;
  try {
    result = await work;
  } catch (thrown) {
    return CausewayError.from(thrown).code;
  }
  throw new Error(`expected a refusal, got ${String(result)}`);
}
