import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Paths of a certificate and its key. */
export interface PemFiles {
  readonly cert: string;
  readonly key: string;
}

/** Certificates for the peers: same keys and lengths of chain as ours, without our private extensions, which Go refuses to read. */
export interface PeerCertificates {
  readonly ca: string;
  readonly server: PemFiles;
  readonly client: PemFiles;
}

/** Makes them with openssl, once for each directory. Throws when openssl is missing. */
export function peerCertificates(directory: string): PeerCertificates {
  const file = (name: string): string => join(directory, name);
  const ca = { cert: file("ca.pem"), key: file("ca.key") };
  const files = {
    ca: ca.cert,
    server: { cert: file("server.pem"), key: file("server.key") },
    client: { cert: file("client.pem"), key: file("client.key") },
  };
  if (existsSync(files.client.cert)) return files;
  const openssl = (...args: readonly string[]): void => void execFileSync("openssl", args, { stdio: "pipe" });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...newKey,
    "-keyout",
    ca.key,
    "-out",
    ca.cert,
    "-days",
    "2",
    "-subj",
    "/CN=bench root",
    "-addext",
    "keyUsage=critical,keyCertSign",
  );
  for (const [name, { cert, key }] of Object.entries({ server: files.server, client: files.client })) {
    const request = file(`${name}.csr`);
    openssl(
      "req",
      "-new",
      ...newKey,
      "-keyout",
      key,
      "-out",
      request,
      "-subj",
      `/CN=${name}`,
      "-addext",
      "subjectAltName=DNS:localhost,IP:127.0.0.1",
      "-addext",
      "extendedKeyUsage=serverAuth,clientAuth",
    );
    openssl(
      "x509",
      "-req",
      "-in",
      request,
      "-CA",
      ca.cert,
      "-CAkey",
      ca.key,
      "-CAcreateserial",
      "-days",
      "2",
      "-copy_extensions",
      "copy",
      "-out",
      cert,
    );
  }
  return files;
}
