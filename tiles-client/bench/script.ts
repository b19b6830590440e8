/**
 * Script time of the page's own thread, in processor time: what other programs do meanwhile is not in it, and neither is drawing, which
 * here is done in software. From Chromium's trace, since its counter `ScriptDuration` lacks what runs after a promise, and so all
 * that answers of the server set off. Which share is ours and which MapLibre's tells a sampling profile: a sample belongs to the
 * innermost frame that has a file; what the browser does for a call counts for its caller.
 */

import type { Browser, CDPSession, Page } from "@playwright/test";

/** Microseconds between two samples. */
const SAMPLING_US = 200;

/** Callbacks with what they promise, and the continuations of promises that nobody's callback fulfilled. */
const SCRIPT = new Set(["v8.callFunction", "v8.run", "FunctionCall", "EvaluateScript", "BlinkScheduler_PerformMicrotaskCheckpoint"]);

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds: when it began, how long it took, and how long of that the thread ran. */
  readonly ts: number;
  readonly dur?: number;
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

export class ScriptClock {
  private constructor(
    readonly browser: Browser,
    readonly page: Page,
    readonly cdp: CDPSession,
  ) {}

  static async of(page: Page): Promise<ScriptClock> {
    const browser = page.context().browser();
    if (!browser) throw new Error("the page belongs to no browser that could be traced");
    const cdp = await page.context().newCDPSession(page);
    await cdp.send("Profiler.enable");
    await cdp.send("Profiler.setSamplingInterval", { interval: SAMPLING_US });
    return new ScriptClock(browser, page, cdp);
  }

  /** All script of a job, milliseconds. */
  async time(job: () => Promise<void>): Promise<number> {
    await this.browser.startTracing(this.page, { categories: ["devtools.timeline", "v8", "toplevel"] });
    await job();
    const { traceEvents } = JSON.parse((await this.browser.stopTracing()).toString()) as { traceEvents: TraceEvent[] };
    return scriptMs(traceEvents);
  }

  /** The share of a job's script that is not MapLibre's but ours: handlers, charts, requests, decoding, the count layer. Not while it is timed: sampling costs. */
  async ourShare(job: () => Promise<void>): Promise<number> {
    await this.cdp.send("Profiler.start");
    await job();
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
    return known > 0 ? ours / known : 0;
  }
}

/** Of the main threads of pages; an event inside another counts once. */
function scriptMs(events: readonly TraceEvent[]): number {
  const mains = new Set(events.filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain").map(({ pid, tid }) => `${pid}/${tid}`));
  const scripts = events.filter(({ name, ph, pid, tid }) => ph === "X" && SCRIPT.has(name) && mains.has(`${pid}/${tid}`)).sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0));
  const ends = new Map<string, number>();
  let us = 0;
  for (const { pid, tid, ts, dur = 0, tdur = 0 } of scripts) {
    const thread = `${pid}/${tid}`;
    if (ts < (ends.get(thread) ?? 0)) continue;
    ends.set(thread, ts + dur);
    us += tdur;
  }
  return us / 1000;
}
