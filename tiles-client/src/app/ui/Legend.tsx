/** The categories: what the colours mean, how many points of each are in view, and which of them are drawn. */

import { useComputed } from "@preact/signals";
import { categoryKey, valueOf, type Category, type Scale } from "../../core/index.js";
import type { Controller } from "../controller.js";
import { compact, count, measured, title } from "../format.js";
import * as state from "../state.js";

/** Counts written beside the colour scale. */
const TICKS = [0, 0.25, 0.5, 0.75, 1] as const;

/** From colour to points per pixel: true for every pixel of the map at this zoom. */
function CountScale({ controller }: { controller: Controller }) {
  const shading = state.shading.value;
  if (!shading || shading.scale.max === 0 || state.showingMarkers.value) return null;
  const { scale, style } = shading;
  const { value: measure } = state.measure;
  const column = state.stats.value?.columns.find(({ name }) => name === measure?.column);
  const tell = (amount: number): string => (measure && column ? measured(valueOf(amount), column, valueOf(scale.max) - valueOf(scale.min)) : compact(amount));
  const stops = TICKS.map((intensity) => ({ intensity, count: countAt(scale, intensity) }));
  const shown = stops.filter(({ count }, k) => k === 0 || tell(count) !== tell(stops[k - 1]?.count ?? 0));
  const gradient =
    style.kind === "ramp"
      ? style.ramp.filter((_, k) => k % 16 === 0 || k === style.ramp.length - 1).map(([r, g, b]) => `rgb(${r} ${g} ${b})`)
      : [`rgb(from var(--ink) r g b / ${style.minAlpha / 255})`, "var(--ink)"];
  return (
    <div class="count-scale">
      <div role="img" aria-label={measure ? `Colour scale: ${tell(scale.min)} to ${tell(scale.max)}` : `Colour scale: ${count(scale.min)} to ${count(scale.max)} points per pixel`}>
        <div class="count-ramp" style={{ background: `linear-gradient(90deg, ${gradient.join(", ")})` }} />
        <div class="axis">
          {shown.map(({ intensity, count: amount }) => (
            <span key={intensity} class={intensity === 0 ? "is-first" : intensity === 1 ? "is-last" : ""} style={{ left: `${100 * intensity}%` }}>
              {tell(amount)}
            </span>
          ))}
        </div>
      </div>
      <div class="count-note">
        <span>{measure ? `${measure.agg} of ${title(measure.column)} in a pixel` : "points per pixel"}</span>
        <button hidden={measure !== null} type="button" class="text-button" aria-pressed={state.look.value.span !== null} title="Keep these counts for these colours, whatever the view and the filter" onClick={() => controller.fixScale()}>
          {state.look.value.span === null ? "fix scale" : "scale fixed"}
        </button>
      </div>
    </div>
  );
}

/** The smallest count with at least an intensity. */
function countAt(scale: Scale, intensity: number): number {
  let low = Math.max(1, scale.min);
  let high = scale.max;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (scale.intensity(middle) >= intensity) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The most frequent of the dataset first, so that the order stays when the view moves; "other" and "no value" last. */
function byCount(categories: readonly Category[]): { category: Category; c: number }[] {
  const rank = ({ kind }: Category): number => (kind === "value" ? 0 : kind === "other" ? 1 : 2);
  return categories.map((category, c) => ({ category, c })).sort((a, b) => rank(a.category) - rank(b.category) || b.category.count - a.category.count);
}

export function Legend({ controller }: { controller: Controller }) {
  const stats = state.stats.value;
  const hidden = new Set(useComputed(() => state.selection.value.hidden).value);
  if (!stats) return null;
  if (stats.by === null || stats.categories.length === 0) {
    return (
      <section class="card" aria-label="Legend">
        <CountScale controller={controller} />
      </section>
    );
  }
  const counts = state.categoryCounts.value;
  const ghosts = state.categoryGhosts.value;
  const top = Math.max(1, ...(counts ?? [1]), ...(ghosts ?? [1]));
  const { logLegend } = state.look.value;
  // Logarithmic bars begin with one point, so that a single one is seen.
  const share = (amount: number): number => (amount <= 0 ? 0 : logLegend ? Math.log1p(amount) / Math.log1p(top) : amount / top);
  const coloured = state.look.value.palette === "categories";

  const choose = (category: Category, event: MouseEvent): void => {
    const key = categoryKey(category);
    const all = stats.categories.map(categoryKey);
    if (event.shiftKey || event.ctrlKey || event.metaKey) {
      const others = all.filter((other) => other !== key);
      const alone = !hidden.has(key) && others.every((other) => hidden.has(other));
      controller.hide(alone ? [] : others);
    } else controller.hide(hidden.has(key) ? [...hidden].filter((other) => other !== key) : [...hidden, key]);
  };

  return (
    <section class="card" aria-label={`Legend: ${title(stats.by)}`}>
      <header class="card-head">
        <h2>{title(stats.by)}</h2>
        <span class="card-note" />
        {hidden.size > 0 && (
          <button type="button" class="text-button" onClick={() => controller.hide([])}>
            Show all
          </button>
        )}
        <button type="button" class="text-button" aria-pressed={logLegend} aria-label="log: logarithmic counts in the legend" onClick={() => controller.restyle({ logLegend: !logLegend })}>
          log
        </button>
      </header>
      <ul class="legend">
        {byCount(stats.categories).map(({ category, c }) => {
          const off = hidden.has(categoryKey(category));
          const amount = counts?.[c];
          return (
            <li key={categoryKey(category)}>
              <button type="button" class={`value${off ? " is-off" : ""}`} aria-pressed={!off} onClick={(event) => choose(category, event)} title={`${category.label}: ${amount === undefined ? "…" : count(amount)} in view. Click to ${off ? "show" : "hide"}, shift-click for only this one`}>
                <span class="swatch" style={{ "--swatch": coloured ? category.color : "var(--ink-3)" }} />
                <span class="value-label">{category.label}</span>
                <span class="meter" aria-hidden="true">
                  <span class="meter-ghost" style={{ width: `${100 * share(ghosts?.[c] ?? 0)}%` }} />
                  <span class="meter-bar" style={{ width: `${100 * share(amount ?? 0)}%`, "--swatch": coloured ? category.color : "var(--ink-3)" }} />
                </span>
                <span class="value-count">{amount === undefined ? "…" : compact(amount)}</span>
              </button>
            </li>
          );
        })}
      </ul>
      <CountScale controller={controller} />
    </section>
  );
}
