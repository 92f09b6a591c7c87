// A gateway in memory that speaks server-sent events to a client's `fetch`.

/** Of one request that is answered by a body which the test writes. */
export interface Asked {
  url: URL;
  headers: Record<string, string>;
  /** More of the stream: text deltas by their numbers, "end" for `stream.finished`, or an event's JSON. */
  say(...events: (number | string)[]): void;
  /** So many events are missing, up to and with this number. */
  gap(missed: number, last: number): void;
  /** The connection is lost. */
  cut(): void;
}

export class FakeGateway {
  /** The requests for events, in order. */
  readonly asked: Asked[] = [];
  readonly created: { body: any; key: string }[] = [];
  readonly cancelled: string[] = [];
  /** How many requests are refused before one gets through. */
  refusing = 0;
  tries = 0;
  private news = () => {};

  /** Wait until events have been asked for so many times. */
  async connection(number: number): Promise<Asked> {
    while (this.asked.length < number) await new Promise<void>((resolve) => (this.news = resolve));
    return this.asked[number - 1]!;
  }

  fetch = async (input: any, init: any = {}): Promise<Response> => {
    const url = new URL(input);
    const { method = "GET", headers = {}, signal } = init as RequestInit & { headers: Record<string, string> };
    this.tries++;
    if (this.refusing-- > 0) throw new TypeError("Failed to fetch");
    if (method === "DELETE") {
      this.cancelled.push(url.pathname);
      return Response.json({});
    }
    if (method === "POST") {
      this.created.push({ body: JSON.parse(init.body), key: headers["Idempotency-Key"]! });
      return Response.json({ id: "s" }, { status: 201 });
    }
    const body = new ReadableStream({
      start: (controller) => {
        const encode = (text: string) => controller.enqueue(new TextEncoder().encode(text));
        const say = (number: number | string) => {
          const event = typeof number == "number" ? { type: "text.delta", text: `${number} ` } : JSON.parse(number);
          encode(`id: s.e.${typeof number == "number" ? number : 99}\ndata: ${JSON.stringify(event)}\n\n`);
        };
        const END = '{"type":"stream.finished","reason":"stop"}';
        const cut = () => controller.error(new TypeError("network error"));
        signal?.addEventListener("abort", cut);
        this.asked.push({
          url,
          headers,
          cut,
          say: (...all) => all.forEach((one) => say(one === "end" ? END : one)),
          gap: (missed, last) => {
            const data = { reason: "retention", missed, resumes_after: `s.e.${last}` };
            encode(`data: ${JSON.stringify({ type: "notice", code: "gap", message: "", data })}\n\n`);
          },
        });
        this.news();
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };
}

/** Let everything happen that can happen without time going on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
