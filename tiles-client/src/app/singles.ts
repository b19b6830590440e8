/** Few enough points in view become single markers, each with its row; more of them are counts again. */

import { isAbort } from "../core/index.js";
import type { MapView } from "./map.js";
import { markerOf } from "./markers.js";
import { failed } from "./problems.js";
import type { Opened } from "./session.js";
import * as state from "./state.js";

export class Singles {
  readonly #opened: Opened;
  #request = new AbortController();
  /** Which rows the markers are, or are going to be; empty for counts. */
  #key = "";

  constructor(opened: Opened) {
    this.#opened = opened;
  }

  /** Decides anew, after anything that it may depend on. */
  decide(map: MapView | null): void {
    const session = this.#opened();
    const { value: selected } = state.selectedInView;
    const { value: view } = state.view;
    const { markersMax } = state.look.value;
    const wanted = selected !== null && view !== null && selected > 0 && selected <= markersMax && session !== null;
    const filter = state.rowFilter.value;
    const key = wanted ? JSON.stringify([session.dataset.name, session.tiles.version, view.bounds, filter]) : "";
    if (key === this.#key) return;
    this.#key = key;
    this.#request.abort();
    if (!wanted) {
      state.showingMarkers.value = false;
      map?.setMarkers([]);
      return;
    }
    const controller = new AbortController();
    this.#request = controller;
    session.dataset.points({ bbox: view.bounds, limit: markersMax, v: session.tiles.version, ...(filter ? { filter } : {}) }, controller.signal).then(
      ({ rows, total }) => {
        // More than were counted: another answer is on its way.
        const markers = total <= markersMax ? rows.flatMap(markerOf) : [];
        state.showingMarkers.value = markers.length > 0;
        map?.setMarkers(markers);
      },
      (error: unknown) => {
        if (!isAbort(error)) failed("the single points could not be loaded", error, null);
      },
    );
  }
}
