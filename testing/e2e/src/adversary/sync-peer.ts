/** A gateway that speaks AMSP by hand over a real session. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { TlsIdentity } from "@causeway/adapter-tls";
import { dialTransport } from "@causeway/agent/transports";
import { CausewayError } from "@causeway/core-base";
import type { TrustStore } from "@causeway/core-identity";
import { amsp } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { until } from "../world.ts";

type Body = NonNullable<MessageInitShape<typeof amsp.MessageSchema>["body"]>;

export class SyncPeer implements Disposable {
  /** Everything that the other side said. */
  readonly received: amsp.Message[] = [];
  /** Code with which the session ended; undefined while it is open. */
  end: string | undefined;
  readonly #queue: amsp.Message[] = [];
  readonly #close: () => void;
  #wake: () => void = () => undefined;
  #isClosed = false;
  #numbers = 0n;

  private constructor(options: { readonly url: string; readonly tls: TlsIdentity; readonly trust: TrustStore }) {
    const { url, tls, trust } = options;
    const transport = dialTransport({ url, identity: () => tls, trust, expect: { roles: ["gateway"] } });
    this.#close = () => transport.close();
    void this.#run(createClient(amsp.SyncService, transport).session(this.#messages()));
  }

  /** Opens a session and says Hello. */
  static open(
    options: { readonly url: string; readonly tls: TlsIdentity; readonly trust: TrustStore },
    hello: MessageInitShape<typeof amsp.HelloSchema>,
  ): SyncPeer {
    const peer = new SyncPeer(options);
    peer.say({ case: "hello", value: { version: 1, ...hello } });
    return peer;
  }

  /** Completes the first exchange: an empty view of our own, and the other side's. */
  async established(): Promise<this> {
    await this.#until("a Hello", "hello");
    this.say({ case: "snapshotBegin", value: { full: true, token: new Uint8Array(16) } });
    this.say({ case: "snapshotEnd", value: { digest: new Uint8Array(32) } });
    await this.#until("the end of the snapshot", "snapshotEnd");
    return this;
  }

  say(body: Body): void {
    this.#queue.push(create(amsp.MessageSchema, { body }));
    this.#wake();
  }

  /** Sends an update under the next number; the code of the refusal, or undefined when it was acknowledged. */
  async update(update: MessageInitShape<typeof amsp.UpdateSchema>): Promise<string | undefined> {
    const number = ++this.#numbers;
    const from = this.received.length;
    this.say({ case: "update", value: { ...update, number } });
    let answer: { readonly code: string | undefined } | undefined;
    await until(`an answer to update ${number}`, () => {
      for (const { body } of this.received.slice(from)) {
        if (body.case === "notify" && body.value.number === number) answer = { code: body.value.error?.code };
        if (body.case === "ack" && body.value.number >= number) answer ??= { code: undefined };
      }
      return answer !== undefined || this.end !== undefined;
    });
    return answer === undefined ? this.end : answer.code;
  }

  /** Waits for the end; its code. */
  async ended(): Promise<string | undefined> {
    await until("the end of the session", () => this.end !== undefined, 10_000);
    return this.end;
  }

  /** Leaves service: what only this peer told is forgotten. */
  leave(): void {
    this.say({ case: "close", value: { leaving: true } });
  }

  async #until(what: string, kind: amsp.Message["body"]["case"]): Promise<void> {
    await until(what, () => {
      if (this.end !== undefined) throw new Error(`the session ended with ${this.end}`);
      return this.received.some(({ body }) => body.case === kind);
    });
  }

  async #run(messages: AsyncIterable<amsp.Message>): Promise<void> {
    try {
      for await (const message of messages) {
        this.received.push(message);
        const { body } = message;
        if (body.case === "update" && body.value.number > 0n)
          this.say({ case: "ack", value: { number: body.value.number } });
      }
      this.end = "ended";
    } catch (thrown) {
      this.end = CausewayError.from(thrown).code;
    }
  }

  async *#messages(): AsyncGenerator<amsp.Message> {
    while (!this.#isClosed) {
      yield* this.#queue.splice(0);
      if (this.#queue.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#wake();
    this.#close();
  }
}
