/** Which of a link's two queues a message waits in, from the class in its header (BEY-1). */
import { FrameKind, type FrameScan } from "./frame-scan.ts";

/** Traffic classes as on the wire (`agp.TrafficClass`). */
export const TrafficClass = { interactive: 1, bulk: 2, control: 3 } as const;

/** The queues of a link: what is urgent leaves first, and bulk has a share that nothing takes from it. */
export const Lane = { urgent: 0, bulk: 1 } as const;
export type Lane = (typeof Lane)[keyof typeof Lane];

/** Messages of the class bulk wait in a lane of their own; every other frame, also one of a later class, is urgent. */
export function laneOf({ kind, trafficClass }: Pick<FrameScan, "kind" | "trafficClass">): Lane {
  return trafficClass === TrafficClass.bulk && kind === FrameKind.message ? Lane.bulk : Lane.urgent;
}
