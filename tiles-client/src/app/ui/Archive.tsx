/** What an archive says of itself, in place of charts: its tiles are pictures, with no points behind them. */

import { SERVER } from "../../pages/server.js";
import { isPicture } from "../archive.js";
import type { OpenArchive } from "../state.js";

const FORMATS: Readonly<Record<string, string>> = { png: "PNG", jpg: "JPEG", webp: "WebP", avif: "AVIF", pbf: "Vector tiles" };

export function Archive({ archive: { entry, about } }: { archive: OpenArchive }) {
  const [west, south, east, north] = about.bounds;
  const facts: readonly [string, string | undefined][] = [
    ["Tiles", FORMATS[entry.format] ?? entry.format],
    ["Zoom levels", `${entry.minzoom} to ${entry.maxzoom}`],
    ["Bounds", `${place(south, "S", "N")}, ${place(west, "W", "E")} to ${place(north, "S", "N")}, ${place(east, "W", "E")}`],
    ["Source", about.attribution?.replace(/<[^>]*>/g, "")],
    ["Address", `${SERVER}/${entry.name}/{z}/{x}/{y}.${entry.format}`],
  ];
  return (
    <>
      <div class="summary">
        <p class="muted">{isPicture(entry) ? "Tiles that were made before: a map to look at, without points to count or filter." : "Vector tiles are served for maps that know how to draw them; this page does not."}</p>
        {about.description && <p>{about.description}</p>}
      </div>
      <dl class="card facts">
        {facts.map(([name, value]) =>
          value ? (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ) : null,
        )}
      </dl>
    </>
  );
}

function place(degrees: number, negative: string, positive: string): string {
  return `${Math.abs(degrees).toFixed(1)}° ${degrees < 0 ? negative : positive}`;
}
