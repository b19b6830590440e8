/** What floats over the map: tools, the progress line, the count under the cursor, problems. */

import { useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Row, Stats } from "../../core/index.js";
import type { Controller } from "../controller.js";
import { everyFrame } from "../frames.js";
import { cell, count, number, timeFull, title } from "../format.js";
import { tellingCells } from "../rows.js";
import * as state from "../state.js";
import { IconButton } from "./icons.js";

export function Tools({ controller }: { controller: Controller }) {
  const toggle = (tool: state.Tool): void => {
    state.tool.value = state.tool.value === tool ? "pan" : tool;
  };
  return (
    <div class="tools">
      <div class="tool-group" role="group" aria-label="Zoom">
        <IconButton icon="plus" label="Zoom in" onClick={() => controller.zoomBy(1)} />
        <IconButton icon="minus" label="Zoom out" onClick={() => controller.zoomBy(-1)} />
        <IconButton icon="fit" label="Show all points" onClick={() => controller.fit()} />
      </div>
      <div class="tool-group" role="group" aria-label="Select on the map">
        <IconButton icon="box" label="Select a box" pressed={state.tool.value === "box"} onClick={() => toggle("box")} />
        <IconButton icon="lasso" label="Select with a lasso" pressed={state.tool.value === "lasso"} onClick={() => toggle("lasso")} />
      </div>
    </div>
  );
}

/** Written to the element itself, once a frame: every tile of a drag changes it. */
export function Progress() {
  const line = useRef<HTMLDivElement>(null);
  const [show, drop] = useMemo(
    () =>
      everyFrame(({ done, all, busy }: { done: number; all: number; busy: boolean }) => {
        line.current?.classList.toggle("is-busy", busy);
        line.current?.setAttribute("aria-valuemax", String(all));
        line.current?.setAttribute("aria-valuenow", String(done));
        line.current?.style.setProperty("--done", String(all > 0 ? Math.max(0.05, done / all) : 1));
      }),
    [],
  );
  useEffect(() => drop, []);
  useSignalEffect(() => {
    const [done, all] = [state.tilesDone.value, state.tilesAll.value];
    show({ done, all, busy: done < all || state.asking.value });
  });
  return <div ref={line} class="progress" role="progressbar" aria-label="Loading tiles" aria-valuemin={0} />;
}

/** Categories named in the tooltip. */
const TOOLTIP_ROWS = 8;

/** Columns of a marker's row in the tooltip. */
const TOOLTIP_COLUMNS = 12;

/** Cells of a row that is named in one line. */
const LINE_CELLS = 4;

export function Tooltip() {
  const hover = state.hover.value;
  const stats = state.stats.value;
  if (!hover || !stats) return null;
  const right = hover.x > window.innerWidth - 240;
  const low = hover.y > window.innerHeight - (hover.row ? 290 : 220);
  const style = { transform: `translate(${hover.x + (right ? -12 : 12)}px, ${hover.y + (low ? -12 : 12)}px) translate(${right ? "-100%" : "0"}, ${low ? "-100%" : "0"})` };
  if (hover.row) {
    const cells = tellingCells(hover.row, stats, state.charts.value);
    return (
      <div class="tooltip" style={style} role="status">
        <dl>
          {cells.slice(0, TOOLTIP_COLUMNS).map(([name, value]) => (
            <div key={name}>
              <dt>{title(name)}</dt>
              <dd>{cell(value)}</dd>
            </div>
          ))}
        </dl>
      </div>
    );
  }
  const measure = state.measure.value;
  const measuredColumn = stats.columns.find(({ name }) => name === measure?.column);
  const total = hover.counts.reduce((sum, amount) => sum + amount, 0);
  const named = stats.by === null ? [] : hover.counts.map((amount, c) => ({ amount, category: stats.categories[c] })).filter(({ amount }) => amount > 0).sort((a, b) => b.amount - a.amount);
  return (
    <div class="tooltip" style={style}>
      {hover.value !== undefined && measure && measuredColumn ? (
        <>
          <strong>{measuredColumn.type === "timestamp" ? timeFull(hover.value / 1000) : number(hover.value)}</strong> {measure.agg} of {title(measure.column)} here
        </>
      ) : (
        <>
          <strong>{count(total)}</strong> {total === 1 ? "point" : "points"} in this pixel
        </>
      )}
      {named.length > 0 && (
        <ul>
          {named.slice(0, TOOLTIP_ROWS).map(({ amount, category }) => (
            <li key={category?.label}>
              <span class="swatch" style={{ "--swatch": category?.color ?? "#888" }} />
              <span>{category?.label}</span>
              <b>{count(amount)}</b>
            </li>
          ))}
        </ul>
      )}
      {named.length > TOOLTIP_ROWS && <div class="muted">and {named.length - TOOLTIP_ROWS} more categories</div>}
      {hover.rows && hover.rows.length > 0 && (
        <ol class="tooltip-rows">
          {lines(hover.rows, stats).map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ol>
      )}
      {hover.rows && !measure && total > hover.rows.length && <div class="muted">click for all {count(total)}</div>}
    </div>
  );
}

/** A few rows, one line each; equal lines once. */
function lines(rows: readonly Row[], stats: Stats): string[] {
  const telling = (row: Row): string =>
    tellingCells(row, stats, state.charts.value)
      .filter(([name]) => name !== stats.by || stats.by === null)
      .slice(0, LINE_CELLS)
      .map(([, value]) => cell(value))
      .join(" · ");
  return [...new Set(rows.map(telling))];
}

export function ProblemBanner() {
  const problem = state.problem.value;
  if (!problem) return null;
  return (
    <div class="problem" role="alert">
      <div>
        <strong>{problem.title}</strong>
        <p>{problem.detail}</p>
      </div>
      {problem.retry && (
        <button type="button" class="chip" onClick={problem.retry}>
          Try again
        </button>
      )}
      {problem.restart && (
        <button type="button" class="text-button" title="The server opens the dataset once more" onClick={problem.restart}>
          Restart
        </button>
      )}
      <IconButton icon="close" label="Dismiss" onClick={() => (state.problem.value = null)} />
    </div>
  );
}

/** News stays for so long: time to read a line twice. */
const NOTICE_MS = 8000;

export function Notice() {
  const text = state.notice.value;
  useEffect(() => {
    if (text === "") return;
    const timer = setTimeout(() => (state.notice.value = ""), NOTICE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  // Always there: screen readers tell only what changes inside it.
  return (
    <div class={`notice${text ? " is-shown" : ""}`} role="status">
      {text}
    </div>
  );
}
