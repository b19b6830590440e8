/** What failed, in words, and how to try it again: the one place that turns errors into what the banner says. */

import { RequestError, isAbort } from "../core/index.js";
import * as state from "./state.js";

/** Tells of an error, unless it is an abort. `retry` is what "Try again" does; null where there is nothing to try. */
export function failed(title: string, error: unknown, retry: (() => void) | null): void {
  if (isAbort(error)) return;
  const again = retry
    ? (): void => {
        state.problem.value = null;
        retry();
      }
    : null;
  state.problem.value = { title: title.charAt(0).toUpperCase() + title.slice(1), detail: messageOf(error), retry: again, ...(error instanceof RequestError ? { status: error.status } : {}) };
}

/** Does something that may fail, and can then be tried again. */
export async function attempt(title: string, job: () => Promise<void>): Promise<void> {
  try {
    await job();
  } catch (error) {
    failed(title, error, () => void attempt(title, job));
  }
}

export function messageOf(error: unknown): string {
  if (!(error instanceof RequestError)) return error instanceof Error ? error.message : String(error);
  // The server's own words are for programs: they name headers.
  if (error.status === 401) return "This server wants a key: open this page as /?key=YOUR-KEY (401)";
  return error.status > 0 ? `${error.message} (${error.status})` : error.message;
}
