/** How counts become colours: scale, palette, opacity, and when single points appear. */

import { useSignal } from "@preact/signals";
import { CMAPS, cmapColors, type Column, type Measure, type ScaleName } from "../../core/index.js";
import type { Controller } from "../controller.js";
import { compact, title } from "../format.js";
import * as state from "../state.js";

const SCALE_LABELS: readonly { readonly how: ScaleName; readonly label: string; readonly hint: string }[] = [
  { how: "eq_hist", label: "Rank", hint: "Equalised: every shade covers as many pixels (eq_hist)" },
  { how: "log", label: "Log", hint: "Logarithm of the count" },
  { how: "cbrt", label: "Cube root", hint: "Cube root of the count" },
  { how: "linear", label: "Linear", hint: "The count itself" },
];

const SIZE_CHOICES = [
  { spread: null, label: "Auto" },
  { spread: 0, label: "1 px" },
  { spread: 1, label: "3 px" },
  { spread: 2, label: "5 px" },
] as const;

const MARKER_CHOICES = [0, 200, 1000, 5000] as const;

export function LookControls({ controller }: { controller: Controller }) {
  const look = state.look.value;
  const open = useSignal(false);
  const stats = state.stats.value;
  const hasCategories = stats?.by != null;
  const { value: measure } = state.measure;
  const measurable = (stats?.columns ?? []).filter((column) => isMeasurable(column, measure?.agg));
  // Charts stand in the order in which columns tell something: the mean of an identifier says nothing.
  const telling = state.charts.value.find(({ column }) => column.type !== "timestamp" && measurable.some(({ name }) => name === column.name))?.column ?? measurable[0];
  const choose = (name: string, wish: string | undefined): void => {
    const agg = AGGREGATES.find((known) => known === name);
    const columns = (stats?.columns ?? []).filter((column) => isMeasurable(column, agg));
    // A time cannot be added up: then it is the first number.
    const column = columns.find((one) => one.name === wish) ?? columns[0];
    void controller.show(agg && column ? { agg, column: column.name } : null);
  };
  const groupings = (stats?.columns ?? []).filter(isGrouping);
  return (
    <section class="card" aria-label="Colours">
      <header class="card-head">
        <h2>
          <button type="button" class="fold" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
            Colours
          </button>
        </h2>
        <span class="card-note">{open.value ? "" : `${SCALE_LABELS.find(({ how }) => how === look.how)?.label ?? ""}, ${look.palette}`}</span>
      </header>
      {open.value && (
        <div class="form">
          <div class="choice">
            <span id="show-label">A pixel shows</span>
            <div class="pair">
              <select class="select" aria-labelledby="show-label" value={measure?.agg ?? "count"} onChange={(event) => choose(event.currentTarget.value, measure?.column ?? telling?.name)}>
                <option value="count">number of points</option>
                {measurable.length > 0 && AGGREGATES.map((agg) => <option key={agg} value={agg}>{agg} of</option>)}
              </select>
              {measure && (
                <select class="select" aria-label="Column" value={measure.column} onChange={(event) => choose(measure.agg, event.currentTarget.value)}>
                  {measurable.map(({ name }) => (
                    <option key={name} value={name}>
                      {title(name)}
                    </option>
                  ))}
                </select>
              )}
            </div>
          </div>
          <label class="choice" hidden={measure !== null}>
            <span>Colour by</span>
            <select class="select" value={state.colourBy.value ?? stats?.by ?? "none"} onChange={(event) => void controller.colourBy(event.currentTarget.value)}>
              {groupings.map(({ name }) => (
                <option key={name} value={name}>
                  {title(name)}
                </option>
              ))}
              <option value="none">Total only</option>
            </select>
          </label>
          <div class="segments" role="radiogroup" aria-label="Scale">
            {SCALE_LABELS.map(({ how, label, hint }) => (
              <button key={how} type="button" role="radio" aria-checked={look.how === how} title={hint} disabled={how === "eq_hist" && look.span !== null} onClick={() => controller.restyle({ how })}>
                {label}
              </button>
            ))}
          </div>
          <div class="palettes" role="radiogroup" aria-label="Palette">
            {hasCategories && measure === null && <Swatches name="categories" colors={(state.stats.value?.categories ?? []).map(({ color }) => color)} hard controller={controller} />}
            {CMAPS.map((name) => (
              <Swatches key={name} name={name} colors={cmapColors(name).filter((_, k) => k % 32 === 0 || k === 255).map(([r, g, b]) => `rgb(${r} ${g} ${b})`)} controller={controller} />
            ))}
          </div>
          {look.palette === "categories" && (
            <label class="slider">
              <span>Faintest opacity</span>
              <input type="range" min="10" max="255" value={look.minAlpha} onInput={(event) => controller.restyle({ minAlpha: Number(event.currentTarget.value) })} />
              <output>{Math.round((100 * look.minAlpha) / 255)}%</output>
            </label>
          )}
          <label class="slider">
            <span>Opacity of all points</span>
            <input type="range" min="5" max="100" step="5" value={look.opacity} onInput={(event) => controller.restyle({ opacity: Number(event.currentTarget.value) })} />
            <output>{look.opacity}%</output>
          </label>
          <div class="choice">
            <span id="size-label">Size of a point</span>
            <div class="segments" role="radiogroup" aria-labelledby="size-label">
              {SIZE_CHOICES.map(({ spread, label }) => (
                <button key={label} type="button" role="radio" aria-checked={look.spread === spread} onClick={() => controller.restyle({ spread })}>
                  {label}
                </button>
              ))}
            </div>
          </div>
          <div class="choice">
            <span id="markers-label">Single points below</span>
            <div class="segments" role="radiogroup" aria-labelledby="markers-label">
              {MARKER_CHOICES.map((max) => (
                <button key={max} type="button" role="radio" aria-checked={look.markersMax === max} onClick={() => controller.restyle({ markersMax: max })}>
                  {max === 0 ? "Never" : compact(max)}
                </button>
              ))}
            </div>
          </div>
        </div>
      )}
    </section>
  );
}

const AGGREGATES = ["mean", "sum", "min", "max"] as const;

/** Numbers can be added up; of times there is only an earliest and a latest. */
function isMeasurable({ type, hot }: Column, agg: Measure["agg"] | undefined): boolean {
  return hot !== false && (type === "integer" || type === "float" || (type === "timestamp" && (agg === "min" || agg === "max")));
}

/** Whether a column's values make sensible categories; the server gives colours to the most frequent and calls the rest "other". */
function isGrouping({ type, distinct, hot }: Column): boolean {
  if (hot === false || (distinct !== null && distinct < 2)) return false;
  return type === "text" || type === "boolean" || (type !== "timestamp" && distinct !== null && distinct <= GROUPS_MAX);
}

/** Numbers with more values than this are measures. */
const GROUPS_MAX = 64;

interface SwatchesProps {
  readonly name: state.Palette;
  readonly colors: readonly string[];
  readonly hard?: boolean;
  readonly controller: Controller;
}

function Swatches({ name, colors, hard = false, controller }: SwatchesProps) {
  const stops = hard ? colors.map((color, k) => `${color} ${(100 * k) / colors.length}% ${(100 * (k + 1)) / colors.length}%`) : colors;
  return (
    <button
      type="button"
      role="radio"
      class="palette"
      aria-checked={state.look.value.palette === name}
      aria-label={name}
      title={name}
      style={{ background: `linear-gradient(90deg, ${stops.length > 1 ? stops.join(", ") : `${colors[0] ?? "#888"}, ${colors[0] ?? "#888"}`})` }}
      onClick={() => controller.restyle({ palette: name })}
    />
  );
}
