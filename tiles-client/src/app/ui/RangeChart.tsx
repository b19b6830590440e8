/**
 * A histogram that is a filter: drag to brush, drag the brush to move it, its edges to resize it, click beside it to
 * clear. The same by keyboard, through two sliders. Redraws on every signal that it reads, straight to its canvas.
 */

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { RangeBrush } from "../../core/index.js";
import type { Controller } from "../controller.js";
import { binLabel, columnValue, count, position, title, valueAt } from "../format.js";
import { everyFrame } from "../frames.js";
import * as state from "../state.js";
import { axisOf, drawBars, inkOf, isAxisOf, rangeBins, suggestsLog, watchSight, watchSize, type Axis, type BarsInput, type CanvasSize } from "./bars.js";
import { Card } from "./Card.js";
import { Player } from "./Player.js";
import { ticksOf } from "./ticks.js";

/** Share of the axis within which a pointer takes hold of an edge. */
const GRIP = 0.025;

/** A drag shorter than this is a click. */
const CLICK_SHARE = 0.008;

interface Drag {
  readonly kind: "new" | "move" | "lo" | "hi";
  readonly from: number;
  readonly brush: readonly [number, number];
  /** The values at its ends when the drag began. */
  readonly given: RangeBrush | null;
  /** Where the chart was. */
  readonly box: DOMRect | null;
}

export function RangeChart({ chart, controller }: { chart: state.Chart; controller: Controller }) {
  const { column } = chart;
  const surface = useRef<HTMLDivElement>(null);
  const drag = useRef<Drag | null>(null);
  const hoverBin = useSignal<number | null>(null);

  // An answer of a drag changes counts only: the canvas is drawn anew, and the markup stays as it is.
  const shown = useComputed(() => {
    const bins = rangeBins(state.answer.value?.histograms[column.name]);
    return bins.length > 0 ? bins : rangeBins(state.ghosts.value[column.name]);
  });
  const former = useRef(axisOf([]));
  const axisNow = useComputed(() => (former.current = isAxisOf(former.current, shown.value) ? former.current : axisOf(shown.value)));
  const axis = axisNow.value;
  // Another column's brush is none of this chart's business.
  const given = useComputed(() => state.selection.value.brushes[column.name]).value;
  const logCounts = useComputed(() => {
    const ghosts = rangeBins(state.ghosts.value[column.name]);
    const now = state.charts.value.find((other) => other.column.name === column.name) ?? chart;
    return now.logCounts ?? suggestsLog(ghosts.length > 0 ? ghosts : shown.value);
  });
  const brush = given?.kind === "range" ? sharesOf(given, axis) : null;

  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useSignal<CanvasSize>({ width: 0, height: 0, ratio: 1 });
  useEffect(() => watchSize(canvas.current, (now) => (size.value = now)), []);
  const [draw, drop] = useMemo(() => everyFrame((input: BarsInput) => canvas.current && drawBars(canvas.current, size.peek(), inkOf(state.theme.peek()), input)), []);
  useEffect(() => drop, []);
  const isSeen = useSignal(true);
  useEffect(() => watchSight(canvas.current, (now) => (isSeen.value = now)), []);
  useSignalEffect(() => {
    if (!isSeen.value) return;
    // A change of either is drawn anew, too.
    void [size.value, state.theme.value];
    const chosen = state.selection.value.brushes[column.name];
    draw({
      bins: shown.value,
      ghosts: rangeBins(state.ghosts.value[column.name]),
      visible: state.visiblePlanes.value,
      logCounts: logCounts.value,
      brush: chosen?.kind === "range" ? sharesOf(chosen, axisNow.value) : null,
      hoverBin: hoverBin.value,
    });
  });

  const share = (event: PointerEvent): number => {
    // Where a drag began it also goes on: asking again would lay out the page in the middle of a frame.
    const box = drag.current?.box ?? surface.current?.getBoundingClientRect();
    return box && box.width > 0 ? Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) : 0;
  };

  /** An end that is not dragged keeps its very value, unless the other one passes it. */
  const apply = (lo: number, hi: number, still: { end: "lo" | "hi"; of: RangeBrush | null } | null = null): void => {
    const [low, high] = [axis.snap(Math.min(lo, hi)), axis.snap(Math.max(lo, hi))];
    const ends = { lo: low <= 0 ? null : valueAt(axis.value(low), column), hi: high >= 1 ? null : valueAt(axis.value(high), column) };
    if (still?.of && lo <= hi) ends[still.end] = still.of[still.end];
    controller.brush(column.name, { kind: "range", ...ends }, `brush ${column.name}`);
  };

  const onPointerDown = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    surface.current?.setPointerCapture(event.pointerId);
    const at = share(event);
    const kind = !brush ? "new" : Math.abs(at - brush[0]) < GRIP ? "lo" : Math.abs(at - brush[1]) < GRIP ? "hi" : at > brush[0] && at < brush[1] ? "move" : "new";
    drag.current = { kind, from: at, brush: brush ?? [at, at], given: given?.kind === "range" ? given : null, box: surface.current?.getBoundingClientRect() ?? null };
    controller.settle();
    controller.hold(column.name);
    hoverBin.value = null;
  };

  const onPointerMove = (event: PointerEvent): void => {
    const at = share(event);
    const held = drag.current;
    if (!held) {
      const n = axis.bins.length;
      hoverBin.value = n > 0 ? Math.min(n - 1, Math.floor(at * n)) : null;
      return;
    }
    if (Math.abs(at - held.from) < CLICK_SHARE && held.kind === "new") return;
    const [lo, hi] = held.brush;
    if (held.kind === "new") apply(held.from, at);
    else if (held.kind === "lo") apply(at, hi, { end: "hi", of: held.given });
    else if (held.kind === "hi") apply(lo, at, { end: "lo", of: held.given });
    else {
      const by = Math.max(-lo, Math.min(1 - hi, at - held.from));
      apply(lo + by, hi + by);
    }
  };

  const onPointerUp = (event: PointerEvent): void => {
    const held = drag.current;
    drag.current = null;
    if (held?.kind === "new" && Math.abs(share(event) - held.from) < CLICK_SHARE && given) controller.brush(column.name, null);
    controller.settle();
  };

  const nudge = (end: "lo" | "hi", event: KeyboardEvent): void => {
    const [lo, hi] = brush ?? [0, 1];
    const step = (event.shiftKey ? 8 : 1) / Math.max(1, axis.bins.length);
    const by = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, Home: -1, End: 1 }[event.key];
    if (event.key === "Escape" || event.key === "Delete") {
      controller.brush(column.name, null);
    } else if (by !== undefined) {
      event.preventDefault();
      const clamp = (value: number, least: number, most: number): number => Math.max(least, Math.min(most, value));
      const of = given?.kind === "range" ? given : null;
      if (end === "lo") apply(clamp(lo + by, 0, hi - step), hi, { end: "hi", of });
      else apply(lo, clamp(hi + by, lo + step, 1), { end: "lo", of });
    }
  };

  const first = axis.bins[0]?.lo ?? 0;
  const last = axis.bins[axis.bins.length - 1]?.hi ?? 1;
  const span = last - first;
  const name = title(column.name);
  const hovered = hoverBin.value === null ? undefined : shown.value[hoverBin.value];
  const describe = (at: number): string => columnValue(axis.value(at), column, span);
  const note = hovered
    ? `${binLabel(hovered, column, span)}  ·  ${count(state.visibleCount(hovered, state.visiblePlanes.value))}`
    : brush
      ? `${describe(brush[0])} – ${describe(brush[1])}`
      : "";

  const numeric = column.type !== "timestamp";
  // The same markup as long as the axis is the same: a drag changes none of it.
  const ticks = useMemo(
    () => (
      <div class="axis" aria-hidden="true">
        {ticksOf(axis, column, chart.scale).map(({ at, label }) => (
          <span key={label} class={at < 0.06 ? "is-first" : at > 0.94 ? "is-last" : ""} style={{ left: `${100 * at}%` }}>
            {label}
          </span>
        ))}
      </div>
    ),
    [axis, column, chart.scale],
  );
  return (
    <Card
      title={name}
      note={note}
      strong={!hovered && brush !== null}
      onClear={given ? () => controller.brush(column.name, null) : null}
      onFold={() => controller.chart(column.name, { open: false })}
      tools={
        <>
          {!numeric && axis.bins.length > 0 && (
            <button type="button" class="text-button" aria-label={`Play ${name}`} onClick={() => (state.playing.value = column.name)}>
              play
            </button>
          )}
          {numeric && (
            <button type="button" class="text-button" aria-pressed={chart.scale === "log10"} aria-label={`${name}: log x, logarithmic values`} onClick={() => controller.chart(column.name, { scale: chart.scale === "log10" ? "linear" : "log10" })}>
              log x
            </button>
          )}
          <button type="button" class="text-button" aria-pressed={logCounts.value} aria-label={`${name}: log y, logarithmic counts`} onClick={() => controller.chart(column.name, { logCounts: !logCounts.value })}>
            log y
          </button>
        </>
      }
    >
      <div class="range" data-column={column.name}>
        <canvas ref={canvas} class="range-bars" role="img" aria-label={`Histogram of ${name}`} />
        <div
          ref={surface}
          class={`range-surface${brush ? " has-brush" : ""}`}
          onPointerDown={onPointerDown}
          onPointerMove={onPointerMove}
          onPointerUp={onPointerUp}
          onPointerCancel={onPointerUp}
          onPointerLeave={() => (hoverBin.value = null)}
        >
          {brush && <div class="brush" style={{ left: `${100 * brush[0]}%`, width: `${100 * (brush[1] - brush[0])}%` }} />}
          {(["lo", "hi"] as const).map((end) => {
            const at = brush ? brush[end === "lo" ? 0 : 1] : end === "lo" ? 0 : 1;
            return (
              <div
                key={end}
                class={`grip${brush ? "" : " is-idle"}`}
                style={{ left: `${100 * at}%` }}
                role="slider"
                tabIndex={0}
                aria-label={`${name}, ${end === "lo" ? "from" : "to"}`}
                aria-valuemin={0}
                aria-valuemax={100}
                aria-valuenow={Math.round(100 * at)}
                aria-valuetext={describe(at)}
                onFocus={() => controller.hold(column.name)}
                onKeyDown={(event) => nudge(end, event)}
                onBlur={() => controller.settle()}
              />
            );
          })}
        </div>
      </div>
      {ticks}
      {column.type === "timestamp" && axis.bins.length > 0 && (given !== undefined || state.playing.value === column.name) && <Player column={column} axis={axis} brush={brush} controller={controller} />}
    </Card>
  );
}

function sharesOf({ lo, hi }: RangeBrush, axis: Axis): readonly [number, number] {
  return [lo === null ? 0 : axis.at(position(lo, 0)), hi === null ? 1 : axis.at(position(hi, 0))];
}
