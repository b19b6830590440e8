/**
 * Script time of the page's own thread: Chromium's `ScriptDuration` in thread time, so what other programs do meanwhile is not in
 * it, and neither is drawing, which here is done in software. Which share of it is ours and which MapLibre's tells a
 * sampling profile: a sample is whose file its innermost frame with a file is in; what the browser does for a call counts for its caller.
 */

import type { CDPSession, Page } from "@playwright/test";

/** Microseconds between two samples. */
const SAMPLING_US = 200;

export interface ScriptTime {
  /** All JavaScript of the page, milliseconds. */
  readonly all: number;
  /** Without MapLibre: handlers, charts, requests, decoding, the count layer. */
  readonly ours: number;
}

export class ScriptClock {
  private constructor(readonly cdp: CDPSession) {}

  static async of(page: Page): Promise<ScriptClock> {
    const cdp = await page.context().newCDPSession(page);
    await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
    await cdp.send("Profiler.enable");
    await cdp.send("Profiler.setSamplingInterval", { interval: SAMPLING_US });
    return new ScriptClock(cdp);
  }

  async time(job: () => Promise<void>): Promise<ScriptTime> {
    await this.cdp.send("Profiler.start");
    const start = await this.#scriptMs();
    await job();
    const all = (await this.#scriptMs()) - start;
    const { profile } = await this.cdp.send("Profiler.stop");
    const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
    const parents = new Map(profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
    let [ours, known] = [0, 0];
    for (const leaf of profile.samples ?? []) {
      let url = "";
      for (let id: number | undefined = leaf; id !== undefined && url === ""; id = parents.get(id)) url = nodes.get(id)?.callFrame.url ?? "";
      if (!url.includes("/ui/")) continue;
      known += 1;
      if (!url.includes("/maplibre")) ours += 1;
    }
    return { all, ours: known > 0 ? (all * ours) / known : 0 };
  }

  async #scriptMs(): Promise<number> {
    const { metrics } = await this.cdp.send("Performance.getMetrics");
    return 1000 * (metrics.find(({ name }) => name === "ScriptDuration")?.value ?? Number.NaN);
  }
}
