/** The part of the SLIM bindings that the bench uses, typed by hand: the package is fetched when the bench runs. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export interface SlimSession {
  publishAsync(data: ArrayBuffer, payloadType: undefined, metadata: undefined): Promise<{ waitAsync(): Promise<void> }>;
  getMessageAsync(timeout: number | undefined): Promise<{ readonly payload: ArrayBuffer }>;
}

export interface SlimApp {
  subscribeAsync(name: object, connection: bigint): Promise<void>;
  setRouteAsync(name: object, connection: bigint): Promise<void>;
  createSessionAndWaitAsync(config: object, destination: object): Promise<SlimSession>;
  listenForSessionAsync(timeout: number | undefined): Promise<SlimSession>;
}

export interface SlimBindings {
  initializeWithDefaults(): void;
  getGlobalService(): {
    runServerAsync(config: object): Promise<void>;
    connectAsync(config: object): Promise<bigint>;
    createAppWithSecret(name: object, secret: string): SlimApp;
  };
  newSecureClientConfig(endpoint: string): { tls: object };
  newServerConfig(endpoint: string): { tls: object };
  readonly Name: new (organisation: string, namespace: string, application: string) => object;
  readonly SessionType: { readonly PointToPoint: number };
  readonly MlsSettings: { create(settings: { readonly headerIntegrityValidationPercent: number }): object };
  readonly SessionConfig: { create(config: object): object };
  readonly TlsSource: { readonly File: new (files: { readonly cert: string; readonly key: string }) => object };
  readonly CaSource: { readonly File: new (file: { readonly path: string }) => object };
}

/** Loads and initialises the bindings from where the bench installed them. */
export async function loadSlim(packageDirectory: string): Promise<SlimBindings> {
  const loaded: unknown = await import(pathToFileURL(join(packageDirectory, "index.js")).href);
  const slim = (loaded as { default: SlimBindings }).default;
  slim.initializeWithDefaults();
  return slim;
}
