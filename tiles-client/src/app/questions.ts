/**
 * Asks the server for the histograms of the view: under the brushes, and without any for their ghosts. The newest question
 * wins, and older ones are aborted. Tells it beforehand which brush is about to be dragged.
 */

import { batch } from "@preact/signals";
import {
  EVERYTHING,
  Latest,
  areaFilter,
  brushesForServer,
  withBrush,
  type ColumnRequest,
  type CrossfilterAnswer,
  type CrossfilterRequest,
  type Histogram,
  type Selection,
} from "../core/index.js";
import * as format from "./format.js";
import { failed } from "./problems.js";
import type { Opened, Session } from "./session.js";
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

  /** Its answer is on screen already: what counts is what the server builds behind it. */
  readonly #held = new Latest<string, void>(
    async (column, signal) => {
      const { session, request } = this.#question(state.selection.value, `${CLIENT}-held`);
      await session.dataset.crossfilter({ ...request, active: column }, signal);
    },
    () => undefined,
    () => {
      // The first step of the drag reports the same failure.
      this.#holding = "";
    },
  );
  /** What the newest of those was about. */
  #holding = "";

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
    this.#held.cancel();
    this.#holding = "";
  }

  ask(selection: Selection): void {
    this.#crossfilter.ask(selection);
  }

  /** A hand is on a column's brush. It comes and goes; what the server has built for this view and these other brushes, it keeps. */
  hold(column: string): void {
    if (!this.#opened() || !state.view.value || !state.stats.value) return;
    const { request } = this.#question(withBrush(state.selection.value, column, null), "");
    const holding = JSON.stringify([column, state.stats.value.data_version, request]);
    if (holding === this.#holding) return;
    this.#holding = holding;
    this.#held.ask(column);
  }

  /** Everything anew: the view, the columns or the data have changed. */
  refresh(): void {
    if (!this.#opened() || !state.view.value || !state.stats.value) return;
    this.#crossfilter.ask(state.selection.value);
    if (brushed(state.selection.value)) this.#ghosts.ask(null);
  }

  async #ask(selection: Selection, signal: AbortSignal, client: string): Promise<CrossfilterAnswer> {
    const { session, request } = this.#question(selection, client);
    state.asking.value = true;
    const since = performance.now();
    try {
      const answer = await session.dataset.crossfilter(request, signal);
      state.answeredMs.value = performance.now() - since;
      return answer;
    } finally {
      state.asking.value = false;
    }
  }

  /** @throws DOMException `AbortError` when nothing is open. */
  #question(selection: Selection, client: string): { session: Session; request: CrossfilterRequest } {
    const session = this.#opened();
    const { value: view } = state.view;
    const { value: stats } = state.stats;
    if (!session || !view || !stats) throw new DOMException("nothing is open", "AbortError");
    const columns: (string | ColumnRequest)[] = state.charts.value
      .filter(({ open }) => open)
      .map(({ column, kind, scale, search }): ColumnRequest =>
        kind === "range" ? { column: column.name, bins: BINS, scale } : { column: column.name, ...(search ? { search } : {}) },
      );
    if (stats.by) columns.unshift({ column: stats.by });
    const filter = areaFilter(selection);
    const request = { bbox: view.bounds, zoom: view.zoom, brushes: brushesForServer(selection), columns, client, by: stats.by ?? "none", ...(filter ? { filter } : {}) };
    return { session, request };
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
