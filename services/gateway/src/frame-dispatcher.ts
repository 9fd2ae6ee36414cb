/** Takes the frames of every link apart and hands each to whom it concerns; answers what fits nobody. */
import { CausewayError, type Now, refuse } from "@causeway/core-base";
import { aap, agp, encodeFrame, FrameKind, FrameScan, scanFrame, toErrorDetail } from "@causeway/core-wire";
import type { Adverts } from "./adverts.ts";
import type { AttachmentDriver } from "./attachment-driver.ts";
import type { BoundedLog } from "./bounded-log.ts";
import { decodeBody } from "./decode-body.ts";
import type { DeliveryService } from "./delivery-service.ts";
import type { EventFeed } from "./event-feed.ts";
import type { LinkEntry } from "./links.ts";
import type { MailboxDriver } from "./mailbox-driver.ts";
import type { PeerLinks } from "./peer-links.ts";
import type { FrameSlice, GatewayDeps } from "./ports.ts";
import type { Relay } from "./relay.ts";
import type { Tally } from "./tally.ts";
import type { TopicsDriver } from "./topics-driver.ts";

/** Whom frames concern. */
export interface DispatchParts {
  readonly deps: GatewayDeps;
  readonly tally: Tally;
  readonly security: BoundedLog;
  readonly attachments: AttachmentDriver;
  readonly topics: TopicsDriver;
  readonly peers: PeerLinks;
  readonly relay: Relay;
  readonly adverts: Adverts;
  readonly delivery: DeliveryService;
  readonly mailboxes: MailboxDriver;
  readonly events: EventFeed;
}

/** Faults after which nothing that follows on the link can be trusted. */
const fatal: ReadonlySet<string> = new Set([
  "CAUSEWAY_FRAME_MALFORMED",
  "CAUSEWAY_FRAME_TOO_LARGE",
  "CAUSEWAY_IDENTITY_ROLE_WRONG",
  "CAUSEWAY_SYNC_PEER_NOT_ALLOWED",
  "CAUSEWAY_SYNC_DUPLICATE_GATEWAY",
  "CAUSEWAY_NAME_INVALID",
]);

/** Dispatches. */
export class FrameDispatcher {
  readonly #parts: DispatchParts;
  readonly #scan = new FrameScan();

  constructor(parts: DispatchParts) {
    this.#parts = parts;
  }

  /** Every frame of one read. */
  handle(entry: LinkEntry, frames: readonly FrameSlice[]): void {
    const now = this.#parts.deps.scheduler.now();
    let messages = 0;
    let isSign = false;
    for (const { buffer, start, end } of frames) {
      if (entry.role.kind === "closed") return;
      const fault = scanFrame(buffer, start, end, this.#scan, entry.id);
      try {
        if (fault !== undefined) {
          if (isOpen(entry)) this.#parts.relay.handleRefused(entry, this.#scan, now);
          throw new CausewayError(fault);
        }
        isSign = true;
        if (this.#scan.kind <= FrameKind.control) messages++;
        this.#handleOne(entry, this.#scan, now);
      } catch (thrown) {
        this.#refuse(entry, thrown);
      }
    }
    if (entry.bulk !== undefined) this.#parts.relay.handleReadEnd(entry);
    if (isSign && entry.role.kind === "agent") this.#parts.attachments.handleTraffic(entry, now);
    if (messages > 0) this.#parts.topics.rearm();
  }

  #handleOne(entry: LinkEntry, scan: FrameScan, now: Now): void {
    const { role } = entry;
    switch (role.kind) {
      case "agent":
        if (scan.kind <= FrameKind.control) this.#parts.relay.handle(entry, role.arrival, scan, now);
        else if (!this.#handleAgent(entry, scan, now)) throw unfit(scan.kind);
        return;
      case "peer":
        if (scan.kind <= FrameKind.control) this.#parts.relay.handle(entry, role.arrival, scan, now);
        else if (!this.#handlePeer(entry, scan)) throw unfit(scan.kind);
        return;
      case "agent-handshake":
        if (scan.kind !== FrameKind.attachHello && scan.kind !== FrameKind.attachProof) throw notAttached();
        this.#parts.attachments.handleFrame(entry, scan);
        return;
      case "peer-accepting":
      case "peer-opening":
        if (!this.#parts.peers.handleFrame(entry, scan)) throw introduceFirst();
        return;
      case "closed":
        return;
    }
  }

  #handleAgent(entry: LinkEntry, scan: FrameScan, now: Now): boolean {
    const { attachments, topics, adverts, delivery } = this.#parts;
    const attachment = attachments.attachmentOf(entry.id);
    if (attachment === undefined) throw notAttached();
    if (attachments.handleFrame(entry, scan) || topics.handleFrame(entry, attachment.agentId, scan)) return true;
    switch (scan.kind) {
      case FrameKind.advertise: {
        const request = decodeBody(aap.AdvertiseSchema, scan);
        const value = adverts.handle(attachment, attachments.of(attachment.agentId), request, now);
        entry.link.send(encodeFrame({ case: "advertiseResult", value }));
        return true;
      }
      case FrameKind.keyPackageUpload: {
        const upload = decodeBody(agp.KeyPackageUploadSchema, scan);
        const value = delivery.upload(attachment.agentId, attachment.instance, upload);
        entry.link.send(encodeFrame({ case: "keyPackageUploadResult", value }));
        return true;
      }
      case FrameKind.eventWatch: {
        const { request, types } = decodeBody(agp.EventWatchSchema, scan);
        const refused = this.#parts.events.watch(entry, attachment.agentId, types, now);
        const error = refused && toErrorDetail(refused);
        entry.link.send(encodeFrame({ case: "subscriptionResult", value: { request, ...(error && { error }) } }));
        return true;
      }
      case FrameKind.mailboxAck:
        this.#parts.mailboxes.handleAck(attachment.agentId, scan);
        return true;
      case FrameKind.credit:
        takeCredit(entry, scan);
        return true;
      // A newer side may say more than this version acts on.
      case FrameKind.event:
      case FrameKind.error:
        return true;
      default:
        return false;
    }
  }

  #handlePeer(entry: LinkEntry, scan: FrameScan): boolean {
    switch (scan.kind) {
      case FrameKind.topicInterest:
        this.#parts.topics.handleInterest(entry, scan);
        return true;
      case FrameKind.drain: {
        const { reason } = decodeBody(agp.DrainSchema, scan);
        entry.isLeaving = true;
        this.#parts.deps.log.info("peer.draining", { peer: entry.name, reason });
        return true;
      }
      case FrameKind.error: {
        const { error } = decodeBody(agp.ErrorSchema, scan);
        this.#parts.security.warn("peer.error_received", {
          peer: entry.name,
          code: error?.code,
          reason: error?.message,
        });
        return true;
      }
      case FrameKind.credit:
        takeCredit(entry, scan);
        return true;
      case FrameKind.event:
        return true;
      default:
        return false;
    }
  }

  /** A typed refusal, a log line, and no other effect. */
  #refuse(entry: LinkEntry, thrown: unknown): void {
    const error = CausewayError.from(thrown);
    const isHandshake = entry.role.kind !== "agent" && entry.role.kind !== "peer";
    const isFatal = fatal.has(error.code) || isHandshake;
    this.#parts.tally.add(`frames_refused_${error.code.replace("CAUSEWAY_", "").toLowerCase()}`);
    if (error.code === "CAUSEWAY_INTERNAL") {
      this.#parts.deps.log.error("gateway.frame_failed", { from: entry.name }, error.cause);
    } else {
      this.#parts.security.warn("gateway.frame_refused", {
        from: entry.name,
        code: error.code,
        reason: error.message,
        isFatal,
      });
    }
    entry.link.send(encodeFrame({ case: "error", value: { error: toErrorDetail(error), fatal: isFatal } }));
    if (isFatal) entry.link.close(error);
  }
}

const isOpen = ({ role }: LinkEntry): boolean => role.kind === "agent" || role.kind === "peer";

/** The other side acknowledges bulk; it takes what it is sent, so that its word on more is not acted on. */
function takeCredit(entry: LinkEntry, scan: FrameScan): void {
  const { stream, trafficClass, bytes } = decodeBody(agp.CreditSchema, scan);
  if (stream === 0n && trafficClass === agp.TrafficClass.BULK) entry.link.takenBulk?.(bytes);
}

/** Streams are reserved for a later version; everything else is known and comes at a wrong place. */
const unfit = (kind: number): CausewayError =>
  kind >= FrameKind.streamOpen && kind <= FrameKind.streamReset
    ? refuse("CAUSEWAY_UNSUPPORTED", "streams inside a link are not part of version 1; send messages")
    : refuse("CAUSEWAY_FRAME_UNEXPECTED", `frame kind ${kind} does not fit the state of this link`);
const notAttached = (): CausewayError =>
  refuse("CAUSEWAY_ATTACHMENT_REQUIRED", "expected the attach handshake first; attach, then send");
const introduceFirst = (): CausewayError =>
  refuse("CAUSEWAY_FRAME_UNEXPECTED", "expected PeerOpen or PeerAccept as the first frame of a peer's link");
