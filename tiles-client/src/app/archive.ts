/** Opens an archive: tiles that were made before are a layer of pictures, with what the archive says of itself. No points, no charts. */

import { batch } from "@preact/signals";
import type { ArchiveEntry, Camera, Client } from "../core/index.js";
import type { MapView } from "./map.js";
import * as state from "./state.js";

/** Vector tiles are shapes without colours: nothing here could know how to draw them. */
export function isPicture({ format }: ArchiveEntry): boolean {
  return format !== "pbf";
}

export async function openArchive(client: Client, entry: ArchiveEntry, camera: Camera | null, map: MapView | null, isLate: () => boolean): Promise<void> {
  const about = await client.tileJson(entry.name);
  if (isLate()) return;
  batch(() => {
    state.archive.value = { entry, about };
    state.tilesDone.value = state.tilesAll.value = 0;
  });
  document.title = `${entry.title ?? entry.name} · pointillist`;
  map?.showPictures(isPicture(entry) ? { ...about, tiles: about.tiles.map(fromHere) } : null);
  if (camera) map?.look(camera);
  else map?.fit(about.bounds);
}

/** The same tiles by the name that this page knows the server by, whatever a proxy in between made of it. */
function fromHere(url: string): string {
  const { pathname, search } = new URL(url, location.href);
  return location.origin + decodeURI(pathname) + search;
}
