/** Own key packages for those who ask over a direct link, since nobody keeps any for them where there is no gateway. */
import { create } from "@bufbuild/protobuf";
import { type AgentId, CausewayError, defaults, refuse, type SpiffeId } from "@causeway/core-base";
import { agp, encodeFrame, newMessageId } from "@causeway/core-wire";
import type { Connector } from "../connector.ts";
import type { EndToEnd } from "../end-to-end.ts";
import { detailOf } from "../session/messages.ts";
import { Rate } from "../session/rate.ts";
import type { DirectLink } from "./direct-link.ts";
import type { DirectLimits } from "./limits.ts";

interface DeskPorts {
  readonly connector: Connector;
  readonly source: SpiffeId;
  readonly endToEnd: EndToEnd;
}

type DeskLimits = Pick<DirectLimits, "keyPackagesPerMinute" | "keyPackagesPerMinuteTotal">;

export class KeyPackageDesk {
  readonly #ports: DeskPorts;
  readonly #limits: DeskLimits;
  readonly #each: Rate;
  readonly #total: Rate;

  constructor(ports: DeskPorts, limits: DeskLimits) {
    const { scheduler } = ports.connector;
    this.#ports = ports;
    this.#limits = limits;
    this.#each = new Rate(scheduler, limits.keyPackagesPerMinute, 60_000);
    this.#total = new Rate(scheduler, limits.keyPackagesPerMinuteTotal, 60_000);
  }

  /** Resolves when the answer is on the link, or the link has ended. */
  async answer(link: DirectLink, { header, requestId }: agp.Control, fetch: agp.KeyPackageFetch): Promise<void> {
    const value = await this.#keyPackage(link.peer, fetch).catch((thrown: unknown) =>
      create(agp.KeyPackageResultSchema, { error: detailOf(CausewayError.from(thrown)) }),
    );
    const { connector, source } = this.#ports;
    const answer = {
      version: 1,
      hopTtl: defaults.hopTtl,
      targetKind: agp.TargetKind.AGENT,
      target: header?.source ?? link.peer,
      source,
      messageId: newMessageId(connector.random, connector.scheduler.now().unix),
      trafficClass: agp.TrafficClass.CONTROL,
    };
    const frame = encodeFrame({
      case: "control",
      value: { header: answer, requestId, body: { case: "keyPackageResult", value } },
    });
    // Whose link has ended meanwhile asks again over the next one.
    await link.transmit(frame).catch(() => undefined);
  }

  /** Each asker gets one that is made for it. */
  async #keyPackage(peer: AgentId, { suite, nameOnly }: agp.KeyPackageFetch): Promise<agp.KeyPackageResult> {
    const { endToEnd, source } = this.#ports;
    if (nameOnly || suite !== endToEnd.exportStatus().suite)
      throw refuse(
        "CAUSEWAY_E2EE_NO_KEY_PACKAGE",
        `expected a question for a key package of the own suite, got suite ${suite}`,
      );
    const { keyPackagesPerMinute, keyPackagesPerMinuteTotal } = this.#limits;
    // What one agent asks for in vain is not taken from the others.
    if (!this.#each.allows(peer) || !this.#total.allows("")) {
      const problem = `expected at most ${keyPackagesPerMinute} key packages a minute for one agent over direct links, and ${keyPackagesPerMinuteTotal} for all; retry later`;
      throw refuse("CAUSEWAY_LIMIT_RATE", problem);
    }
    return create(agp.KeyPackageResultSchema, { keyPackage: await endToEnd.handOutKeyPackage(), owner: source });
  }
}
