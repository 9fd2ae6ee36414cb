/** The A2A 1.0 operations as requests between agents: one method name each, JSON of the A2A messages as data. */
import {
  CancelTaskRequest,
  GetTaskRequest,
  ListTasksRequest,
  ListTasksResponse,
  type MessageFns,
  SendMessageRequest,
  SendMessageResponse,
  StreamResponse,
  SubscribeToTaskRequest,
  Task,
} from "@a2a-js/sdk";

/** One A2A operation with its two codecs. */
export interface Operation<In, Out> {
  /** Method name of the request on the network. */
  readonly method: string;
  readonly input: MessageFns<In>;
  readonly output: MessageFns<Out>;
}

const operation = <In, Out>(name: string, input: MessageFns<In>, output: MessageFns<Out>): Operation<In, Out> => ({
  method: `a2a/1.0/${name}`,
  input,
  output,
});

/** Every operation that the bridge carries. Push notification configuration is not among them. */
export const operations = {
  sendMessage: operation("SendMessage", SendMessageRequest, SendMessageResponse),
  sendMessageStream: operation("SendStreamingMessage", SendMessageRequest, StreamResponse),
  getTask: operation("GetTask", GetTaskRequest, Task),
  cancelTask: operation("CancelTask", CancelTaskRequest, Task),
  listTasks: operation("ListTasks", ListTasksRequest, ListTasksResponse),
  resubscribe: operation("SubscribeToTask", SubscribeToTaskRequest, StreamResponse),
} as const;
