/** Connections of the NATS protocol, many to a process. */
import { openConnection } from "../clients/nats.ts";
import type { OpenCrowdEnd } from "./end.ts";

export const openEnd: OpenCrowdEnd = async (settings, { name, target, subscribe, isStored = false }) => {
  const to = target === undefined ? name : "topic" in target ? target.topic : target.agent;
  const own = subject(subscribe ?? name);
  // A publication with a subject for the answer is one that JetStream acknowledges there.
  const connection = await openConnection(settings, own, isStored ? `${subject(to)} ${own}` : subject(to));
  return {
    send: connection.send,
    prepareSize: connection.prepareSize,
    onReceive: connection.onReceive,
    onWritable: connection.onWritable,
    halt: () => void connection.socket.pause(),
    resume: () => void connection.socket.resume(),
  };
};

/** A subject of one word. */
export const subject = (name: string): string => name.replace(/^spiffe:\/\//, "").replaceAll(/[./@]/g, "-");
