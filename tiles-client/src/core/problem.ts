/**
 * How requests fail: one error type for what the server answers (RFC 9457 problem documents), so that callers can
 * tell "the server said no, and why" from "there was no answer". Knows nothing of datasets or maps.
 */

/** A request that the server refused or that never reached it. `status` is 0 when there was no answer. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly url: string,
  ) {
    super(detail || title);
  }
}

/** True for the error that an `AbortSignal` raises: nothing went wrong, the answer is just no longer wanted. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/**
 * `fetch` that resolves only for 2xx answers.
 * @throws RequestError with the server's own words for any other status, or status 0 when the network failed.
 * @throws DOMException `AbortError` when the signal fired.
 */
export async function fetchOk(url: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new RequestError(0, "no answer", "the server did not answer; is it still running?", url);
  }
  if (response.ok) return response;
  throw await problemFrom(response, url);
}

async function problemFrom(response: Response, url: string): Promise<RequestError> {
  const text = await response.text();
  let title = response.statusText || `status ${response.status}`;
  let detail = "";
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === "object" && body !== null) {
      if ("title" in body && typeof body.title === "string") title = body.title;
      if ("detail" in body && typeof body.detail === "string") detail = body.detail;
    }
  } catch {
    // Not JSON: a proxy in between answered. Its first line is the best there is.
    detail = text.split("\n", 1)[0]?.slice(0, 200) ?? "";
  }
  return new RequestError(response.status, title, detail, url);
}
