/** A page that fails its test on any console error, page error or request to another origin, and some ways to use it. */

import { resolve } from "node:path";
import { expect, test as base, type Page, type Request } from "@playwright/test";
import { PNG } from "pngjs";
import { Client, type Dataset, type Stats } from "../src/core/index.js";

export { expect };

export const url = (): string => {
  const address = process.env["POINTILLIST_URL"];
  if (!address) throw new Error("the server's address is not known: was the global setup skipped?");
  return address;
};

export interface Dashboard {
  readonly page: Page;
  /** Requests since the page opened, newest last: method and path. The one that listens for changes of the data, and is never more than one, is not among them. */
  readonly requests: string[];
  /** Console messages that a test expects, such as the browser's own about a failed request. */
  readonly expectErrors: RegExp[];
  /** Servers of this machine that the page may ask besides pointillist, such as the one that an example's page comes from. */
  readonly origins: string[];
  open(hash?: string): Promise<void>;
  idle(): Promise<void>;
  selected(): Promise<number>;
  pixels(): Promise<PNG>;
}

export const test = base.extend<{ dashboard: Dashboard; dataset: Dataset; stats: Stats }>({
  dataset: async ({}, use) => use(new Client(url()).dataset("towers")),
  stats: async ({ dataset }, use) => use(await dataset.stats()),
  dashboard: async ({ page }, use) => {
    const problems: string[] = [];
    const requests: string[] = [];
    const expectErrors: RegExp[] = [];
    const origins = [url()];
    const listening = new Set<Request>();
    // A folder with a build of the pages, in place of those in the server's binary.
    const built = process.env["POINTILLIST_UI"];
    if (built !== undefined) await page.route(({ pathname }) => pathname.startsWith("/ui/"), (route) => route.fulfill({ path: resolve(built, new URL(route.request().url()).pathname.slice("/ui/".length)) }));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => problems.push(`page: ${error.message}`));
    page.on("request", (request) => {
      const address = request.url();
      if (address.startsWith("data:") || address.startsWith("blob:")) return;
      if (!origins.some((origin) => address.startsWith(`${origin}/`))) problems.push(`foreign request: ${address}`);
      // What a page listened for ends with it.
      if (request.isNavigationRequest() && request.frame() === page.mainFrame()) listening.clear();
      if (new URL(address).pathname.endsWith("/events")) listening.add(request);
      else requests.push(`${request.method()} ${address.startsWith(url()) ? address.slice(url().length) : address}`);
    });
    for (const end of ["requestfinished", "requestfailed"] as const) page.on(end as "requestfinished", (request) => listening.delete(request));
    const idle = async (): Promise<void> => {
      await page.waitForFunction(() => window.pointillist?.idle === true);
    };
    await use({
      page,
      requests,
      expectErrors,
      origins,
      idle,
      async open(hash = "") {
        await page.goto(`${url()}/${hash}`);
        await idle();
        await page.waitForFunction(() => (window.pointillist?.map as { loaded(): boolean } | undefined)?.loaded() === true);
        await expect.poll(() => listening.size, { message: "requests that listen for changes" }).toBe(1);
      },
      async selected() {
        return Number((await page.getByTestId("selected").innerText()).replaceAll(",", ""));
      },
      async pixels() {
        return PNG.sync.read(await page.screenshot());
      },
    });
    await expect.poll(() => listening.size, { message: "requests that listen for changes" }).toBeLessThanOrEqual(1);
    expect(problems.filter((problem) => !expectErrors.some((expected) => expected.test(problem)))).toEqual([]);
  },
});

export function rgbAt(image: PNG, x: number, y: number): [number, number, number] {
  const at = 4 * (Math.round(y) * image.width + Math.round(x));
  return [image.data[at] ?? 0, image.data[at + 1] ?? 0, image.data[at + 2] ?? 0];
}

/** Where a place is on the page, CSS pixels. */
export async function screenOf(page: Page, lon: number, lat: number): Promise<[number, number]> {
  return page.evaluate(
    ([x, y]) => {
      const map = window.pointillist?.map as { project(place: [number, number]): { x: number; y: number } };
      const at = map.project([x, y]);
      return [at.x, at.y] as [number, number];
    },
    [lon, lat] as [number, number],
  );
}
