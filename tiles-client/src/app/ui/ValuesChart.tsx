/** The most frequent values of a text column: click for only this one, shift-click to add or remove, search for others. */

import { useComputed } from "@preact/signals";
import type { BrushValue, ValueBin } from "../../core/index.js";
import type { Controller } from "../controller.js";
import { compact, count, title } from "../format.js";
import * as state from "../state.js";
import { Card } from "./Card.js";
import { Icon } from "./icons.js";

/** Rows shown; the server may send more. */
const ROWS_MAX = 8;

export function ValuesChart({ chart, controller }: { chart: state.Chart; controller: Controller }) {
  const { column } = chart;
  const name = title(column.name);
  const visible = state.visiblePlanes.value;
  const valueBins = (bins: readonly object[] | undefined): ValueBin[] => (bins ?? []).filter((bin): bin is ValueBin => "value" in bin);
  const histogram = state.answer.value?.histograms[column.name];
  const bins = valueBins(histogram?.bins).slice(0, ROWS_MAX);
  const ghosts = new Map(valueBins(state.ghosts.value[column.name]?.bins).map((bin) => [bin.value, state.visibleCount(bin, visible)]));
  const given = useComputed(() => state.selection.value.brushes[column.name]).value;
  const chosen = given?.kind === "values" ? given.values : [];
  // A chosen value stays in sight when the others push it off the list.
  const listed: ValueBin[] = [...bins, ...chosen.filter((value) => !bins.some((bin) => bin.value === value)).map((value) => ({ value, count: 0 }))];
  const top = Math.max(1, ...listed.map((bin) => Math.max(state.visibleCount(bin, visible), ghosts.get(bin.value) ?? 0)));

  const choose = (value: BrushValue, event: MouseEvent): void => {
    const has = chosen.includes(value);
    const add = event.shiftKey || event.ctrlKey || event.metaKey;
    const next = add ? (has ? chosen.filter((other) => other !== value) : [...chosen, value]) : has && chosen.length === 1 ? [] : [value];
    controller.brush(column.name, { kind: "values", values: next });
  };

  const many = (column.distinct ?? Number.POSITIVE_INFINITY) > ROWS_MAX;
  const other = histogram?.other;
  return (
    <Card
      title={name}
      note={chosen.length > 0 ? `${chosen.length} chosen` : ""}
      strong
      onClear={chosen.length > 0 ? () => controller.brush(column.name, null) : null}
      onFold={() => controller.chart(column.name, { open: false })}
      tools={<span class="muted">{column.distinct === null ? "" : `${compact(column.distinct)} values`}</span>}
    >
      {many && (
        <label class="search">
          <Icon name="search" />
          <input type="search" placeholder={`Search ${name.toLowerCase()}`} aria-label={`Search ${name}`} value={chart.search} onInput={(event) => controller.chart(column.name, { search: event.currentTarget.value })} />
        </label>
      )}
      <ul class="values" data-column={column.name}>
        {listed.map((bin) => {
          const amount = state.visibleCount(bin, visible);
          const on = chosen.length === 0 || chosen.includes(bin.value);
          const label = bin.value === null ? "no value" : String(bin.value) === "" ? "(empty)" : String(bin.value);
          return (
            <li key={String(bin.value)}>
              <button type="button" class={`value${on ? "" : " is-off"}${bin.value === null ? " is-null" : ""}`} aria-pressed={chosen.includes(bin.value)} onClick={(event) => choose(bin.value, event)} title={`${label}: ${count(amount)}`}>
                <span class="value-ghost" style={{ width: `${(100 * (ghosts.get(bin.value) ?? 0)) / top}%` }} />
                <span class="value-bar" style={{ width: `${(100 * amount) / top}%` }} />
                <span class="value-label">{label}</span>
                <span class="value-count">{compact(amount)}</span>
              </button>
            </li>
          );
        })}
      </ul>
      {listed.length === 0 && <p class="muted">{chart.search ? "No value matches." : "No points in view."}</p>}
      {other && other.count > 0 && listed.length > 0 && (
        <p class="muted">
          {compact(other.values)} more, {compact(other.count)} points
        </p>
      )}
    </Card>
  );
}
