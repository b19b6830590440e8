/**
 * The view as text for the address bar, and back: `at=zoom/lat/lon`, one `b.COLUMN=` per brush, and whatever plain
 * settings the caller adds. Reading is forgiving: a part that makes no sense is left out, never an error.
 */

import type { Brush, Selection } from "./selection.js";
import { EVERYTHING } from "./selection.js";
import type { BrushValue } from "./types.js";

export interface Camera {
  readonly zoom: number;
  readonly lat: number;
  readonly lon: number;
}

export interface ViewState {
  readonly camera: Camera | null;
  readonly selection: Selection;
  /** Everything else, by name: dataset, scale, palette, theme. */
  readonly settings: Readonly<Record<string, string>>;
}

const OPEN = "*";

export function encodeView({ camera, selection, settings }: ViewState): string {
  const parts: [string, string][] = Object.entries(settings)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => [encodePart(key), encodePart(value)]);
  if (camera) parts.push(["at", `${round(camera.zoom, 2)}/${round(camera.lat, 5)}/${round(camera.lon, 5)}`]);
  for (const [column, brush] of Object.entries(selection.brushes)) parts.push([`b.${encodePart(column)}`, encodeBrush(brush)]);
  if (selection.hidden.length > 0) parts.push(["hide", selection.hidden.map(encodePart).join(",")]);
  if (selection.area) parts.push(["area", selection.area.map(([lon, lat]) => `${round(lon, 5)};${round(lat, 5)}`).join(",")]);
  return parts.map((part) => part.join("=")).join("&");
}

export function decodeView(text: string): ViewState {
  const settings: Record<string, string> = {};
  const brushes: Record<string, Brush> = {};
  let camera: Camera | null = null;
  let hidden = EVERYTHING.hidden;
  let area = EVERYTHING.area;
  // Some programs encode the apostrophe when a link passes through them.
  for (const pair of text.replace(/^[#?]/, "").replaceAll("%27", "'").split("&")) {
    const split = pair.indexOf("=");
    if (split < 0) continue;
    const key = decodePart(pair.slice(0, split));
    const value = pair.slice(split + 1);
    if (key === "at") camera = decodeCamera(value);
    else if (key === "hide") hidden = value.split(",").map(decodePart);
    else if (key === "area") area = decodeArea(value);
    else if (key.startsWith("b.")) {
      const brush = decodeBrush(value);
      if (brush) brushes[key.slice(2)] = brush;
    } else if (key !== "") settings[key] = decodePart(value);
  }
  return { camera, settings, selection: { brushes, hidden, area } };
}

function encodeBrush(brush: Brush): string {
  if (brush.kind === "range") return `${encodeValue(brush.lo)}..${encodeValue(brush.hi)}`;
  return brush.values.map((value) => `=${encodeValue(value)}`).join(",");
}

function decodeBrush(text: string): Brush | null {
  if (text.startsWith("=")) return { kind: "values", values: text.split(",").map((part) => decodeValue(part.slice(1))) };
  const ends = text.split("..");
  if (ends.length !== 2) return null;
  const [lo, hi] = ends.map((end) => decodeValue(end));
  if (lo === undefined || hi === undefined || typeof lo === "boolean" || typeof hi === "boolean") return null;
  return { kind: "range", lo, hi };
}

/** Numbers and booleans stand bare; text is marked, so that the text "5" and the number 5 stay apart. */
function encodeValue(value: BrushValue): string {
  if (value === null) return OPEN;
  return typeof value === "string" ? `'${encodePart(value)}` : String(value);
}

function decodeValue(text: string): BrushValue {
  if (text === OPEN || text === "") return null;
  if (text.startsWith("'")) return decodePart(text.slice(1));
  if (text === "true" || text === "false") return text === "true";
  const number = Number(text);
  return Number.isFinite(number) ? number : null;
}

function decodeCamera(text: string): Camera | null {
  const [zoom, lat, lon] = text.split("/").map(Number);
  if (zoom === undefined || lat === undefined || lon === undefined) return null;
  return [zoom, lat, lon].every(Number.isFinite) && Math.abs(lat) <= 90 ? { zoom, lat, lon } : null;
}

function decodeArea(text: string): Selection["area"] {
  const corners = text.split(",").map((corner) => corner.split(";").map(Number));
  const good = corners.every((corner) => corner.length === 2 && corner.every(Number.isFinite)) && corners.length >= 3;
  return good ? corners.map(([lon, lat]) => [lon ?? 0, lat ?? 0] as const) : null;
}

/** Percent-encodes what separates parts here or is unsafe in an address, and nothing more, so that links stay readable. */
function encodePart(text: string): string {
  return text.replace(/[^\p{L}\p{N}:/_.;@()!~-]|\.{2}/gu, (unsafe) =>
    [...new TextEncoder().encode(unsafe)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

function decodePart(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
