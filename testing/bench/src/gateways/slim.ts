/** SLIM's node in a process of its own. */
import type { PeerCertificates } from "../peer-certificates.ts";
import { loadSlim } from "../slim-bindings.ts";
import { startedByHarness } from "./started-by-harness.ts";

startedByHarness(async (settings) => {
  const { port, files, packageDirectory } = settings as {
    port: number;
    files: PeerCertificates;
    packageDirectory: string;
  };
  const slim = await loadSlim(packageDirectory);
  const config = slim.newServerConfig(`127.0.0.1:${port}`);
  const tls = {
    ...config.tls,
    insecure: false,
    source: new slim.TlsSource.File(files.server),
    clientCa: new slim.CaSource.File({ path: files.ca }),
    tlsVersion: "tls1.3",
  };
  await slim.getGlobalService().runServerAsync({ ...config, tls });
  return { ready: true };
});
