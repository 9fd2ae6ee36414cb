/** Connections of the NATS protocol, many to a process. */
import { openConnection } from "../clients/nats.ts";
import type { OpenCrowdEnd } from "./end.ts";

export const openEnd: OpenCrowdEnd = async (settings, { name, target, subscribe }) => {
  const to = target === undefined ? name : "topic" in target ? target.topic : target.agent;
  const connection = await openConnection(settings, subject(subscribe ?? name), subject(to));
  return {
    send: connection.send,
    prepareSize: connection.prepareSize,
    onReceive: connection.onReceive,
    onWritable: connection.onWritable,
    halt: () => void connection.socket.pause(),
    resume: () => void connection.socket.resume(),
  };
};

const subject = (name: string): string => name.replace(/^spiffe:\/\//, "").replaceAll(/[./@]/g, "-");
