/** Puts the dashboard together and binds what belongs to the whole page: theme, keys, the size of the panel. */

import "maplibre-gl/dist/maplibre-gl.css";
import "./styles/index.css";
import { effect } from "@preact/signals";
import { render } from "preact";
import { decodeView } from "../core/index.js";
import { systemTheme } from "./address.js";
import { Controller } from "./controller.js";
import { MapView } from "./map.js";
import * as state from "./state.js";
import { Draw } from "./ui/Draw.js";
import { Notice, ProblemBanner, Progress, Tools, Tooltip } from "./ui/MapChrome.js";
import { Panel } from "./ui/Panel.js";
import { Rows } from "./ui/Rows.js";

const root = document.getElementById("app");
if (!root) throw new Error("the page has no #app");

const asked = decodeView(location.hash).settings["theme"];
state.theme.value = asked === "light" || asked === "dark" ? asked : systemTheme();
effect(() => {
  document.documentElement.dataset["theme"] = state.theme.value;
});

const controller = new Controller();
const canvas = document.createElement("div");
canvas.className = "map";
canvas.setAttribute("role", "application");
canvas.setAttribute("aria-label", "Map of points; arrow keys pan, plus and minus zoom");
const overlay = document.createElement("div");
overlay.className = "overlay";
root.append(canvas, overlay);

const view = new MapView(canvas, state.theme.value, {
  onMove: (now, camera) => controller.moved(now, camera),
  onHover: (at) => controller.pointer.hovered(at),
  onClick: (tile, pixel) => void controller.pointer.listRows(tile, pixel),
  onBasemapError: (message, isStyle) => controller.basemapFailed(message, isStyle),
});

effect(() => view.setSpread(state.spread.value));
effect(() => view.setOpacity(state.look.value.opacity / 100));

render(
  <>
    <Panel controller={controller} />
    <section class="over-map" aria-label="On the map">
      <Progress />
      <Draw controller={controller} lonLat={(x, y) => view.lonLat(x, y)} />
      <Tools controller={controller} />
      <Rows controller={controller} />
      <Tooltip />
      <ProblemBanner />
      <Notice />
      <div class="visually-hidden" aria-live="polite">
        <Announcement />
      </div>
    </section>
  </>,
  overlay,
);

function Announcement() {
  return <>{state.announcement.value}</>;
}

/** A side panel covers the left, a sheet the bottom. */
function insets(): { left: number; top: number; bottom: number } {
  const panel = overlay.querySelector(".panel")?.getBoundingClientRect();
  if (!panel) return { left: 0, top: 0, bottom: 0 };
  const isSheet = panel.width > window.innerWidth * 0.9;
  return isSheet ? { left: 0, top: 0, bottom: Math.min(window.innerHeight * 0.45, window.innerHeight - panel.top) } : { left: panel.right, top: 0, bottom: 0 };
}
const panel = overlay.querySelector(".panel");
if (panel) new ResizeObserver(() => view.setInsets(insets())).observe(panel);
view.setInsets(insets());

window.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement && event.target.type === "search";
  if (event.key === "Escape") {
    if (state.tool.value !== "pan") state.tool.value = "pan";
    else if (state.rowList.value) controller.pointer.closeRows();
  } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing) {
    event.preventDefault();
    if (event.shiftKey) controller.redo();
    else controller.undo();
  }
});

declare global {
  interface Window {
    /** For tests and the console: is everything on screen up to date? */
    pointillist?: { readonly idle: boolean; readonly map: unknown };
  }
}
window.pointillist = {
  get idle() {
    return controller.idle;
  },
  map: view.map,
};

void controller.start(view);
