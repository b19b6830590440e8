/** Box and lasso: a sheet over the map that takes the pointer while a tool is chosen and reports a ring of places. */

import { useSignal } from "@preact/signals";
import type { Controller } from "../controller.js";
import * as state from "../state.js";

type ScreenPoint = readonly [x: number, y: number];

/** Corners of a lasso that are kept; the server bounds the length of a filter. */
const CORNERS_MAX = 120;

/** Screen pixels between two corners of a lasso. */
const CORNER_GAP = 4;

export function Draw({ controller, lonLat }: { controller: Controller; lonLat: (x: number, y: number) => [number, number] }) {
  const path = useSignal<readonly ScreenPoint[]>([]);
  const tool = state.tool.value;
  if (tool === "pan") return null;

  const spot = (event: PointerEvent & { currentTarget: EventTarget }): ScreenPoint => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const down = (event: PointerEvent & { currentTarget: EventTarget }): void => {
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    path.value = [spot(event)];
  };
  const move = (event: PointerEvent & { currentTarget: EventTarget }): void => {
    const { value: points } = path;
    const [first] = points;
    if (!first) return;
    const at = spot(event);
    if (tool === "box") path.value = [first, [at[0], first[1]], at, [first[0], at[1]]];
    else {
      const last = points[points.length - 1] ?? first;
      if (Math.hypot(at[0] - last[0], at[1] - last[1]) >= CORNER_GAP) path.value = [...points, at];
    }
  };
  const up = (): void => {
    const { value: points } = path;
    path.value = [];
    if (points.length < 3) return;
    const stride = Math.ceil(points.length / CORNERS_MAX);
    const kept = points.filter((_, k) => k % stride === 0);
    controller.area(kept.map(([x, y]) => lonLat(x, y)).map(([lon, lat]) => [round(lon), round(lat)] as const));
    state.tool.value = "pan";
  };

  return (
    <svg class="draw" role="application" aria-label={`Drag to draw a ${tool}; Escape to stop`} onPointerDown={down} onPointerMove={move} onPointerUp={up} onPointerCancel={() => (path.value = [])}>
      {path.value.length > 1 && <polygon points={path.value.map((point) => point.join(",")).join(" ")} />}
    </svg>
  );
}

/** Five digits are about a metre, and keep the filter short. */
function round(degrees: number): number {
  return Number(degrees.toFixed(5));
}
