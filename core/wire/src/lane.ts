/** Which of a link's two queues a message waits in, from the class in its header (BEY-1). */

/** Traffic classes as on the wire (`agp.TrafficClass`). */
export const TrafficClass = { interactive: 1, bulk: 2, control: 3 } as const;

/** The queues of a link: what is urgent leaves first, and bulk has a share that nothing takes from it. */
export const Lane = { urgent: 0, bulk: 1 } as const;
export type Lane = (typeof Lane)[keyof typeof Lane];

/** Bulk waits in a lane of its own; every other class, also one of a later version, is urgent. */
export function laneOf(trafficClass: number): Lane {
  return trafficClass === TrafficClass.bulk ? Lane.bulk : Lane.urgent;
}
