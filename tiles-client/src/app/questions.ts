/**
 * Asks the server for the histograms of the view: under the brushes, and without any for their ghosts. The newest question
 * wins, and older ones are aborted.
 */

import { batch } from "@preact/signals";
import {
  EVERYTHING,
  Latest,
  areaFilter,
  brushesForServer,
  type ColumnRequest,
  type CrossfilterAnswer,
  type Histogram,
  type Selection,
} from "../core/index.js";
import * as format from "./format.js";
import { failed } from "./problems.js";
import type { Opened } from "./session.js";
import * as state from "./state.js";

/** Bars per chart: four CSS pixels each in the panel. */
const BINS = 64;

/** Tells the server whose newer question makes an older one moot. */
const CLIENT = Math.random().toString(36).slice(2, 12);

/** A new count is said to screen readers when it has held for so long. */
const SAY_MS = 400;

export class Questions {
  readonly #opened: Opened;
  readonly #onAnswer: () => void;
  #saying: ReturnType<typeof setTimeout> | null = null;

  readonly #crossfilter = new Latest<Selection, CrossfilterAnswer>(
    (selection, signal) => this.#ask(selection, signal, CLIENT),
    (answer, selection) => this.#answered(answer, selection),
    (error) => failed("the histograms could not be loaded", error, () => this.refresh()),
  );
  readonly #ghosts = new Latest<null, Readonly<Record<string, Histogram>>>(
    async (_, signal) => (await this.#ask(EVERYTHING, signal, `${CLIENT}-ghosts`)).histograms,
    (histograms) => (state.ghosts.value = histograms),
    () => {
      // The same request with brushes reports the same failure.
    },
  );

  constructor(opened: Opened, onAnswer: () => void) {
    this.#opened = opened;
    this.#onAnswer = onAnswer;
  }

  get busy(): boolean {
    return this.#crossfilter.busy;
  }

  cancel(): void {
    this.#crossfilter.cancel();
    this.#ghosts.cancel();
  }

  ask(selection: Selection): void {
    this.#crossfilter.ask(selection);
  }

  /** Everything anew: the view, the columns or the data have changed. */
  refresh(): void {
    if (!this.#opened() || !state.view.value || !state.stats.value) return;
    this.#crossfilter.ask(state.selection.value);
    if (brushed(state.selection.value)) this.#ghosts.ask(null);
  }

  async #ask(selection: Selection, signal: AbortSignal, client: string): Promise<CrossfilterAnswer> {
    const session = this.#opened();
    const { value: view } = state.view;
    const { value: stats } = state.stats;
    if (!session || !view || !stats) throw new DOMException("nothing is open", "AbortError");
    state.asking.value = true;
    const since = performance.now();
    const columns: (string | ColumnRequest)[] = state.charts.value
      .filter(({ open }) => open)
      .map(({ column, kind, scale, search }): ColumnRequest =>
        kind === "range" ? { column: column.name, bins: BINS, scale } : { column: column.name, ...(search ? { search } : {}) },
      );
    if (stats.by) columns.unshift({ column: stats.by });
    const filter = areaFilter(selection);
    try {
      const answer = await session.dataset.crossfilter(
        { bbox: view.bounds, zoom: view.zoom, brushes: brushesForServer(selection), columns, client, by: stats.by ?? "none", ...(filter ? { filter } : {}) },
        signal,
      );
      state.answeredMs.value = performance.now() - since;
      return answer;
    } finally {
      state.asking.value = false;
    }
  }

  #answered(answer: CrossfilterAnswer, selection: Selection): void {
    batch(() => {
      state.answer.value = answer;
      if (!brushed(selection)) state.ghosts.value = answer.histograms;
      if (state.problem.value?.retry) state.problem.value = null;
    });
    this.#opened()?.tiles.filter(answer.filter);
    if (brushed(selection) && this.#ghostsMissing()) this.#ghosts.ask(null);
    this.#announce();
    this.#onAnswer();
  }

  /** Said once a drag rests, not sixty times a second. */
  #announce(): void {
    if (this.#saying !== null) clearTimeout(this.#saying);
    this.#saying = setTimeout(() => (state.announcement.value = `${format.count(state.selectedInView.value ?? 0)} points selected in view`), SAY_MS);
  }

  #ghostsMissing(): boolean {
    return Object.keys(state.answer.value?.histograms ?? {}).some((column) => !(column in state.ghosts.value));
  }
}

function brushed(selection: Selection): boolean {
  return Object.keys(selection.brushes).length > 0 || selection.area !== null;
}
