import { health } from "@causeway/core-wire";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";

/**
 * gRPC's health checking protocol for the services of a port: SERVING from start to stop. It says that the process
 * answers; what a service depends on is its own status method's business.
 */
export function healthRoutes(
  services: () => ReadonlySet<string>,
  shutdown: AbortSignal,
): (router: ConnectRouter) => void {
  const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = health.HealthCheckResponse_ServingStatus;
  const statusOf = (service: string): health.HealthCheckResponse_ServingStatus => {
    if (service !== "" && !services().has(service)) return SERVICE_UNKNOWN;
    return shutdown.aborted ? NOT_SERVING : SERVING;
  };
  return (router) =>
    router.service(health.Health, {
      check(request) {
        const status = statusOf(request.service);
        if (status === SERVICE_UNKNOWN)
          throw new ConnectError(
            `expected a service of this port, got ${JSON.stringify(request.service)}`,
            Code.NotFound,
          );
        return { status };
      },
      async *watch(request, context) {
        yield { status: statusOf(request.service) };
        await aborted(AbortSignal.any([context.signal, shutdown]));
        if (shutdown.aborted) yield { status: statusOf(request.service) };
      },
    });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
