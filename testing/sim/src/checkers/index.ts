/** Every checker that looks on while faults go on. */
import type { Checker } from "../surroundings.ts";
import type { Work } from "../work.ts";
import type { World } from "../world.ts";
import { oneLease, presenceInTime, verifiedBeforeInstall } from "./attachment.ts";
import {
  deliveredToTarget,
  edgesCarryNoTopics,
  interestHorizon,
  oneCopyPerLink,
  oneCopyPerSubscriber,
  ownSource,
  ttlBoundsRelays,
} from "./data.ts";
import type { Ledger } from "./ledger.ts";
import {
  diskIsMemory,
  expiryIsHonoured,
  mailboxBounds,
  mailInOrder,
  nothingDiesInPeace,
  ownMailbox,
  promisedIsKept,
  replayGivesTime,
  storedBeforeTold,
} from "./mail.ts";
import {
  boundedRepetition,
  creditIsKept,
  lanesInOrder,
  takenOnce,
  truthfulOutcome,
  unreadIsBounded,
} from "./session.ts";
import {
  acceptedPath,
  boundedEffects,
  edgesHoldWhatTheyWant,
  edgesPassNothingOn,
  exportPolicy,
  honestViews,
  knownSessions,
  neverOlder,
  onlySigned,
  pathForm,
  peerLimits,
  splitHorizon,
  storedBeforeSent,
  tableIsFunction,
  tombstonesAreKept,
  usableWaysStand,
} from "./sync.ts";

/** The account goes first: the others hold it against what machines say. */
export function mailCheckers(world: World, ledger: Ledger): readonly Checker[] {
  return [
    ledger,
    storedBeforeTold(world, ledger),
    promisedIsKept(world, ledger),
    ownMailbox(world, ledger),
    mailInOrder(world),
    expiryIsHonoured(world),
    nothingDiesInPeace(world),
    replayGivesTime(world),
    diskIsMemory(world),
    mailboxBounds(world),
    takenOnce(world, ledger),
    lanesInOrder(world),
    truthfulOutcome(world, ledger),
    boundedRepetition(world, ledger),
    creditIsKept(world),
    unreadIsBounded(world),
  ];
}

export function safetyCheckers(world: World, work: Work): readonly Checker[] {
  return [
    pathForm(world),
    edgesPassNothingOn(world),
    splitHorizon(world),
    acceptedPath(world),
    onlySigned(world),
    neverOlder(world),
    tombstonesAreKept(world),
    storedBeforeSent(world),
    tableIsFunction(world),
    usableWaysStand(world),
    knownSessions(world),
    edgesHoldWhatTheyWant(world, work),
    exportPolicy(world),
    peerLimits(world),
    boundedEffects(world),
    honestViews(world),
    verifiedBeforeInstall(world),
    oneLease(world),
    presenceInTime(world),
    ttlBoundsRelays(world),
    ownSource(world),
    deliveredToTarget(world),
    edgesCarryNoTopics(world),
    oneCopyPerLink(world),
    oneCopyPerSubscriber(world),
    interestHorizon(world),
  ];
}
