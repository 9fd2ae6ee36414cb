import { create, fromBinary } from "@bufbuild/protobuf";
import type { StoredApplication } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import type { AuthorityContext } from "./context.ts";

/** Applications, oldest first: those of one state, or all. */
export function listApplications(
  context: AuthorityContext,
  request: aca.ListApplicationsRequest,
): aca.ListApplicationsResponse {
  const applications = context.store.applications(request.state, listedMax).map(showApplication);
  return create(aca.ListApplicationsResponseSchema, { applications });
}

/** An application as operators see it. */
export function showApplication(application: StoredApplication): aca.Application {
  const { id, spiffeId, state, atUnixMs, decidedBy, reason } = application;
  const { material } = fromBinary(aca.EnrolRequestSchema, application.request);
  return create(aca.ApplicationSchema, {
    id,
    spiffeId,
    state,
    atUnixMs: BigInt(atUnixMs),
    decidedBy,
    reason,
    ...(material && { material }),
  });
}

const listedMax = 1_000;
