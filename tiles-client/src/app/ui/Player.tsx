/** Sweeps a window over a time column: the brush, moved by the clock. */

import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { Column, RangeBrush } from "../../core/index.js";
import type { Controller } from "../controller.js";
import { position, valueAt } from "../format.js";
import * as state from "../state.js";
import { IconButton } from "./icons.js";

/** Seconds for one sweep over the whole axis. */
const SPEEDS = [
  { label: "Slow", seconds: 60 },
  { label: "Medium", seconds: 20 },
  { label: "Fast", seconds: 8 },
] as const;

/** Width of the window where nothing is brushed yet, as a share of the axis. */
const WINDOW_SHARE = 1 / 12;

interface PlayerProps {
  readonly column: Column;
  /** Ends of the axis, milliseconds. */
  readonly lo: number;
  readonly hi: number;
  readonly brush: RangeBrush | null;
  readonly controller: Controller;
}

export function Player({ column, lo, hi, brush, controller }: PlayerProps) {
  const seconds = useSignal<number>(20);
  const running = state.playing.value === column.name;
  const window = useRef({ from: lo, width: (hi - lo) * WINDOW_SHARE });

  const stop = (): void => {
    state.playing.value = null;
    controller.settle();
  };

  useEffect(() => {
    if (!running) return;
    // It starts with the brushed window, or at the beginning where nothing, or nearly everything, is brushed.
    const from = brush ? position(brush.lo, lo) : lo;
    const to = brush ? position(brush.hi, hi) : hi;
    const isNarrow = to - from < (hi - lo) * 0.98;
    window.current = isNarrow ? { from, width: Math.max(1000, to - from) } : { from: lo, width: (hi - lo) * WINDOW_SHARE };
    let frame = 0;
    let last = performance.now();
    const step = (now: number): void => {
      // The effect is cleaned up only after the next paint; a frame in between would be an undo step of its own.
      if (state.playing.value !== column.name) return;
      const { from, width } = window.current;
      const next = from + ((now - last) / 1000 / seconds.value) * (hi - lo);
      last = now;
      // Past the end it starts again at the beginning.
      window.current = { from: next >= hi ? lo : next, width };
      const start = window.current.from;
      controller.brush(column.name, { kind: "range", lo: valueAt(start, column), hi: valueAt(Math.min(hi, start + width), column) }, `play ${column.name}`);
      frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame);
  }, [running, lo, hi]);

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
