/** The categories: what the colours mean, how many points of each are in view, and which of them are drawn. */

import { categoryKey, type Category } from "../../core/index.js";
import type { Controller } from "../controller.js";
import { compact, count, title } from "../format.js";
import * as state from "../state.js";

/** Categories beyond this many scroll within the legend. */
export function Legend({ controller }: { controller: Controller }) {
  const stats = state.stats.value;
  if (!stats || stats.by === null || stats.categories.length === 0) return null;
  const hidden = new Set(state.selection.value.hidden);
  const counts = state.categoryCounts.value;
  const top = Math.max(1, ...(counts ?? [1]));
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
        <h3>{title(stats.by)}</h3>
        <span class="card-note" />
        {hidden.size > 0 ? (
          <button type="button" class="text-button" onClick={() => controller.hide([])}>
            Show all
          </button>
        ) : (
          <span class="muted card-hint">shift-click for only one</span>
        )}
      </header>
      <ul class="legend">
        {stats.categories.map((category, c) => {
          const off = hidden.has(categoryKey(category));
          const amount = counts?.[c];
          return (
            <li key={categoryKey(category)}>
              <button type="button" class={`value${off ? " is-off" : ""}`} aria-pressed={!off} onClick={(event) => choose(category, event)} title={`${category.label}: ${amount === undefined ? "…" : count(amount)} in view`}>
                <span class="swatch" style={{ "--swatch": coloured ? category.color : "var(--ink-3)" }} />
                <span class="value-label">{category.label}</span>
                <span class="meter" aria-hidden="true">
                  <span style={{ width: `${(100 * (amount ?? 0)) / top}%`, "--swatch": coloured ? category.color : "var(--ink-3)" }} />
                </span>
                <span class="value-count">{amount === undefined ? "…" : compact(amount)}</span>
              </button>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
