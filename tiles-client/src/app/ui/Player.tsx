/** Sweeps a window over a time column: the brush, moved by the clock. */

import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { Column } from "../../core/index.js";
import type { Controller } from "../controller.js";
import { valueAt } from "../format.js";
import * as state from "../state.js";
import type { Axis } from "./bars.js";
import { IconButton } from "./icons.js";

/** Seconds for one sweep over the whole axis. */
const SPEEDS = [
  { label: "Slow", seconds: 60 },
  { label: "Medium", seconds: 20 },
  { label: "Fast", seconds: 8 },
] as const;

/** Width of the window where nothing is brushed yet, as a share of the axis. */
const WINDOW_SHARE = 1 / 12;

/** Narrowest window: one step of the axis, so that it never closes. */
const MIN_SHARE = 1 / 1024;

interface PlayerProps {
  readonly column: Column;
  readonly axis: Axis;
  /** Brushed part of the axis, 0-1. */
  readonly brush: readonly [number, number] | null;
  readonly controller: Controller;
}

export function Player({ column, axis, brush, controller }: PlayerProps) {
  const seconds = useSignal<number>(20);
  const running = state.playing.value === column.name;
  // The newest axis, for frames that outlive a render.
  const shown = useRef(axis);
  shown.current = axis;

  const stop = (): void => {
    state.playing.value = null;
    controller.settle();
  };

  useEffect(() => {
    if (!running) return;
    // It starts with the brushed window, or at the beginning where nothing, or nearly everything, is brushed.
    const isNarrow = brush !== null && brush[1] - brush[0] < 0.98;
    const width = isNarrow ? Math.max(MIN_SHARE, brush[1] - brush[0]) : WINDOW_SHARE;
    let from = isNarrow ? brush[0] : 0;
    let frame = 0;
    let last = performance.now();
    const step = (now: number): void => {
      // The effect is cleaned up only after the next paint; a frame in between would be an undo step of its own.
      if (state.playing.value !== column.name) return;
      from += (now - last) / 1000 / seconds.value;
      last = now;
      // Past the end it starts again at the beginning.
      if (from >= 1) from = 0;
      const ends = [from, Math.min(1, from + width)].map((at) => valueAt(shown.current.value(shown.current.snap(at)), column));
      controller.brush(column.name, { kind: "range", lo: ends[0] ?? null, hi: ends[1] ?? null }, `play ${column.name}`);
      frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame);
  }, [running]);

  return (
    <div class="player">
      <IconButton icon={running ? "pause" : "play"} label={running ? "Pause" : `Play ${column.name}`} onClick={running ? stop : () => (state.playing.value = column.name)} />
      <div class="segments" role="radiogroup" aria-label="Speed">
        {SPEEDS.map((speed) => (
          <button key={speed.label} type="button" role="radio" aria-checked={seconds.value === speed.seconds} onClick={() => (seconds.value = speed.seconds)}>
            {speed.label}
          </button>
        ))}
      </div>
    </div>
  );
}
