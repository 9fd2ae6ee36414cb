/** SLIM through its bindings. */
import { loadSlim, type SlimSession } from "../slim-bindings.ts";
import type { OpenEnd } from "../system.ts";

export const openEnd: OpenEnd = async (settings, role) => {
  const { port, ca, cert, key, packageDirectory } = settings as {
    port: number;
    ca: string;
    cert: string;
    key: string;
    packageDirectory: string;
  };
  const slim = await loadSlim(packageDirectory);
  const service = slim.getGlobalService();
  const config = slim.newSecureClientConfig(`https://127.0.0.1:${port}`);
  const tls = {
    ...config.tls,
    insecure: false,
    insecureSkipVerify: false,
    source: new slim.TlsSource.File({ cert, key }),
    caSource: new slim.CaSource.File({ path: ca }),
    includeSystemCaCertsPool: false,
    tlsVersion: "tls1.3",
  };
  const connection = await service.connectAsync({ ...config, tls });
  const own = new slim.Name("bench", "relay", role);
  const app = service.createAppWithSecret(own, "a secret of the bench, at least thirty-two bytes long");
  await app.subscribeAsync(own, connection);
  let session: SlimSession | undefined;
  const opened = (async () => {
    if (role === "receiver") {
      session = await app.listenForSessionAsync(undefined);
    } else {
      const receiver = new slim.Name("bench", "relay", "receiver");
      await app.setRouteAsync(receiver, connection);
      session = await app.createSessionAndWaitAsync(
        slim.SessionConfig.create({ sessionType: slim.SessionType.PointToPoint, metadata: new Map() }),
        receiver,
      );
    }
    return session;
  })();
  if (role === "sender") await opened;

  let deliver: (count: number) => void = () => undefined;
  let writable: () => void = () => undefined;
  void opened.then(async (open) => {
    for (;;) {
      await open.getMessageAsync(undefined);
      deliver(1);
    }
  });
  let payload = new ArrayBuffer(0);
  let outstanding = 0;
  return {
    facts: { "TLS slim": "TLSv1.3 (suite chosen by rustls)" },
    prepareSize(bytes) {
      payload = new Uint8Array(bytes).fill(0x61).buffer;
    },
    send() {
      outstanding += 1;
      void session?.publishAsync(payload, undefined, undefined).then(() => {
        outstanding -= 1;
        if (outstanding === outstandingMax - 1) writable();
      });
      return outstanding < outstandingMax;
    },
    onWritable(run) {
      writable = run;
    },
    onReceive(run) {
      deliver = run;
    },
  };
};

/** Publications under way at once. */
const outstandingMax = 64;
