/** The panel: dataset, how many points are selected, legend, charts, colours. On a phone it is a sheet from below. */

import { useSignal } from "@preact/signals";
import type { Controller } from "../controller.js";
import { compact, count, duration, percent, title } from "../format.js";
import * as state from "../state.js";
import { Archive } from "./Archive.js";
import { Icon, IconButton } from "./icons.js";
import { Legend } from "./Legend.js";
import { LookControls } from "./Look.js";
import { RangeChart } from "./RangeChart.js";
import { ValuesChart } from "./ValuesChart.js";

export function Panel({ controller }: { controller: Controller }) {
  const raised = useSignal(false);
  const { value: archive } = state.archive;
  return (
    <aside class={`panel${raised.value ? " is-raised" : ""}`} aria-label="Dataset and filters">
      <button type="button" class="sheet-handle" aria-expanded={raised.value} aria-label={raised.value ? "Lower the panel" : "Raise the panel"} onClick={() => (raised.value = !raised.value)} />
      <Head controller={controller} />
      <div class="panel-body">
        {archive ? (
          <Archive archive={archive} />
        ) : (
          <>
            <Summary controller={controller} />
            <Legend controller={controller} />
            <Charts controller={controller} />
            <LookControls controller={controller} />
            <Exports controller={controller} />
          </>
        )}
      </div>
    </aside>
  );
}

function Charts({ controller }: { controller: Controller }) {
  const charts = state.charts.value;
  if (!state.stats.value) return null;
  const folded = charts.filter(({ open }) => !open);
  return (
    <>
      {charts.some(({ open }) => open) && <p class="charts-note">Charts follow the view, each without its own brush.</p>}
      {charts.filter(({ open }) => open).map((chart) => (chart.kind === "range" ? <RangeChart key={chart.column.name} chart={chart} controller={controller} /> : <ValuesChart key={chart.column.name} chart={chart} controller={controller} />))}
      {folded.length > 0 && (
        <section class="card" aria-label="More columns">
          <header class="card-head">
            <h2>More columns</h2>
          </header>
          <div class="chips">
            {folded.map(({ column }) => (
              <button key={column.name} type="button" class="chip" onClick={() => controller.chart(column.name, { open: true })}>
                {title(column.name)}
              </button>
            ))}
          </div>
        </section>
      )}
    </>
  );
}

function Head({ controller }: { controller: Controller }) {
  const open = state.stats.value ?? state.archive.value?.entry;
  const all = [...state.datasets.value, ...state.archives.value];
  const dark = state.theme.value === "dark";
  return (
    <header class="panel-head">
      {all.length > 1 && <h1 class="visually-hidden">{open ? (open.title ?? title(open.name)) : "pointillist"}</h1>}
      {all.length > 1 ? (
        <label class="chooser">
          <select aria-label="Dataset" value={open?.name ?? ""} onChange={(event) => void controller.open(event.currentTarget.value, "fresh")}>
            {all.map(({ name, title: text }) => (
              <option key={name} value={name}>
                {text ?? title(name)}
              </option>
            ))}
          </select>
          <Icon name="chevron" />
        </label>
      ) : (
        <h1 class="chooser">{open ? (open.title ?? title(open.name)) : "pointillist"}</h1>
      )}
      <IconButton icon="undo" label="Undo (Ctrl+Z)" disabled={!state.canUndo.value} onClick={() => controller.undo()} />
      <IconButton icon="redo" label="Redo (Ctrl+Shift+Z)" disabled={!state.canRedo.value} onClick={() => controller.redo()} />
      <IconButton icon={dark ? "sun" : "moon"} label={dark ? "Light theme" : "Dark theme"} onClick={() => controller.theme(dark ? "light" : "dark")} />
    </header>
  );
}

function Summary({ controller }: { controller: Controller }) {
  const stats = state.stats.value;
  const selected = state.selectedInView.value;
  if (!stats) return <div class="summary is-loading"><div class="total">…</div><div class="muted">{state.problem.value ? "Nothing is open." : "Opening the dataset"}</div></div>;
  const anywhere = state.answer.value?.selected_total;
  const empty = selected === 0;
  return (
    <div class="summary">
      <div class="total" data-testid="selected">{selected === null ? "…" : count(selected)}</div>
      <div class="muted">
        {state.isFiltered.value ? "points selected in view" : "points in view"} · {selected === null ? "" : `${percent(selected, stats.rows)} of ${compact(stats.rows)}`}
        {state.answeredMs.value !== null && <span class="answered" title="From the question to the answer, over the network"> · {duration(state.answeredMs.value)}</span>}
      </div>
      {empty && (
        <div class="empty" role="status">
          {anywhere === 0 ? "No point passes these filters." : state.isFiltered.value ? "Nothing selected in this view." : "No points in this view."}
          <span class="empty-actions">
            {state.isFiltered.value && <button type="button" class="text-button" onClick={() => controller.clear()}>Clear filters</button>}
            {anywhere !== 0 && <button type="button" class="text-button" onClick={() => controller.fit()}>Show all points</button>}
          </span>
        </div>
      )}
      {state.isFiltered.value && !empty && (
        <div class="filters">
          {state.selection.value.area && (
            <button type="button" class="chip" onClick={() => controller.area(null)} aria-label="Clear the drawn area">
              Drawn area <Icon name="close" />
            </button>
          )}
          <button type="button" class="text-button" onClick={() => controller.clear()}>
            Clear all filters
          </button>
        </div>
      )}
    </div>
  );
}

function Exports({ controller }: { controller: Controller }) {
  const open = useSignal(false);
  return (
    <section class="card" aria-label="Export">
      <header class="card-head">
        <h2>
          <button type="button" class="fold" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
            Export
          </button>
        </h2>
        <span class="card-note">{open.value ? "" : "CSV, Parquet, PNG"}</span>
      </header>
      {open.value && (
        <div class="form">
          <div class="export-row">
            <span>Selected, in view</span>
            <a class="chip" href={controller.exportUrl("csv", "view")} download>CSV</a>
            <a class="chip" href={controller.exportUrl("parquet", "view")} download>Parquet</a>
          </div>
          <div class="export-row">
            <span>Selected, everywhere</span>
            <a class="chip" href={controller.exportUrl("csv", "all")} download>CSV</a>
            <a class="chip" href={controller.exportUrl("parquet", "all")} download>Parquet</a>
          </div>
          <div class="export-row">
            <span>Picture of the map</span>
            <button type="button" class="chip" onClick={() => void controller.exportPicture()}>PNG</button>
          </div>
        </div>
      )}
    </section>
  );
}
