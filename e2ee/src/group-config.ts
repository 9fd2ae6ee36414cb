/** How the library is run: what it keeps, how it pads, whom it believes, and what becomes of its errors. */
import { isCausewayError, refuse } from "@causeway/core-base";
import type { CredentialJudge } from "./credentials.ts";
import { type ClientConfig, defaultKeyPackageEqualityConfig } from "./library.ts";

/** Late messages are opened in the current and this many former epochs. */
const pastEpochsMax = 4;
/**
 * Skipped messages of one sender and epoch that can still be opened later: all that a gateway stores of one sender, since
 * what is sent once its receiver is back may come by another way, before them.
 */
const skippedMessagesMax = 2_048;
/** How far ahead of the last message of its sender a message may be; not so far that one puts others out of reach. */
const forwardStepsMax = skippedMessagesMax;
/** The three bounds in the words of the library. */
export const retentionConfig = {
  retainKeysForGenerations: skippedMessagesMax,
  retainKeysForEpochs: pastEpochsMax,
  maximumForwardRatchetSteps: forwardStepsMax,
};

/** How the library is run: retention, padding of 256 bytes at least, and our judgement of credentials. */
export function clientConfig(judge: CredentialJudge): ClientConfig {
  return {
    keyRetentionConfig: retentionConfig,
    lifetimeConfig: { maximumTotalLifetime: 90n * 86_400n, validateLifetimeOnReceive: false },
    keyPackageEqualityConfig: defaultKeyPackageEqualityConfig,
    paddingConfig: { kind: "padUntilLength", padUntilLength: 256 },
    authService: {
      async validateCredential(credential, signaturePublicKey) {
        judge.verify({ credential, signaturePublicKey });
        return true;
      },
    },
  };
}

/** Runs the library and turns its errors into ours; what our own checks threw inside passes through. */
export async function mls<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (isCausewayError(cause)) throw cause;
    throw refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", "the message is altered, was seen before or is not for this epoch", {
      cause,
    });
  }
}
