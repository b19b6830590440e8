/**
 * Server-sent events by `fetch`: unlike `EventSource` this can show a key in a header, begin at a known event, and be ended
 * by a signal. Format and rules: https://html.spec.whatwg.org/multipage/server-sent-events.html
 */

import { isAbort } from "./problem.js";

export interface ServerEvent {
  /** `message` where the server named none. */
  readonly name: string;
  readonly data: string;
}

/** The first pause after a failure, and the longest; each failure in a row doubles it. */
const RETRY_MS = 5_000;
const RETRY_MS_MAX = 120_000;

/** Text that comes in pieces, to events. */
export class EventParser {
  /** The last id that was sent; the next connection begins after it. */
  lastId: string | null = null;
  /** How long the server wants clients to wait before they ask again, milliseconds. */
  retryMs = RETRY_MS;
  #held = "";
  #name = "";
  #data: string[] = [];

  /** Events that are complete now. What is cut off at the end of a connection is never one. */
  push(text: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    // A line feed may still follow a carriage return at the end.
    const lines = (this.#held + text).split(/\r\n|\n|\r(?!$)/);
    this.#held = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        // A block without data only sets the id or the pause.
        if (this.#data.length > 0) events.push({ name: this.#name || "message", data: this.#data.join("\n") });
        [this.#name, this.#data] = ["", []];
        continue;
      }
      const [, field, value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (field === "event") this.#name = value;
      else if (field === "data") this.#data.push(value);
      else if (field === "id") this.lastId = value;
      else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    }
    return events;
  }
}

/**
 * Listens until the signal fires: asks again where an answer ends, as the server wants it, and after ever longer pauses where
 * it fails. A failure is nobody's concern: what is on screen stays true to when it was asked for.
 * @param open Asks for the events after an id.
 */
export async function listen(open: (lastId: string, signal: AbortSignal) => Promise<Response>, since: string, onEvent: (event: ServerEvent) => void, signal: AbortSignal): Promise<void> {
  let [lastId, failures] = [since, 0];
  while (!signal.aborted) {
    const parser = new EventParser();
    try {
      const response = await open(lastId, signal);
      failures = 0;
      const decoder = new TextDecoder();
      const reader = response.body?.getReader();
      for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
        for (const event of parser.push(decoder.decode(part.value, { stream: true }))) onEvent(event);
        lastId = parser.lastId ?? lastId;
      }
    } catch (error) {
      if (isAbort(error)) return;
      failures += 1;
    }
    await pause(Math.min(RETRY_MS_MAX, parser.retryMs * 2 ** failures), signal);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
