/** The native events of a stream; what happened in it, whatever vendor said it. */
export type StreamEvent =
  /** The provider accepted the request. */
  | { type: "stream.started"; model: string; created?: number; choices?: number }
  /** More of the answer's text; of what the model shows of its reasoning; of the text with which it declines. */
  | { type: "text.delta" | "reasoning.delta" | "refusal.delta"; text: string; choice?: number }
  /** More of tool call `index`: `id` and `name` come first and once, `arguments` in fragments of JSON. */
  | { type: "tool_call.delta"; index: number; id?: string; name?: string; arguments?: string; choice?: number }
  /** A choice is whole; `reason` is OpenAI's vocabulary. */
  | { type: "choice.finished"; reason: string; choice?: number }
  /** Tokens so far, cumulative; `running`: the final count is still to come. */
  | { type: "usage"; input_tokens: number; output_tokens: number; details?: Record<string, unknown>; running?: boolean }
  /** Something that is no part of the answer; the code `gap` says that events before the next one cannot be had. */
  | { type: "notice"; code: string; message: string; data?: Record<string, unknown> }
  /** The stream is whole. */
  | { type: "stream.finished"; reason: string }
  /** The stream broke off. */
  | { type: "stream.failed"; code: string; message: string; status?: number; error_type?: string; param?: string }
  /** The stream was ended on purpose: the `client` asked, its `lease` ran out, or the gateway is in `shutdown`. */
  | { type: "stream.cancelled"; reason: string };

/** The last event of a stream; there is exactly one. */
export type Ending = Extract<StreamEvent, { type: "stream.finished" | "stream.failed" | "stream.cancelled" }>;

/** Whether an event is its stream's last. */
export function isEnding(event: StreamEvent): event is Ending {
  return /^stream\.(finished|failed|cancelled)$/.test(event.type);
}
