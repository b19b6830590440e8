/** What is open: a dataset, its tiles and the steps that can be undone. */

import type { Dataset, History, Selection } from "../core/index.js";
import type { TileSet } from "./tileset.js";

export interface Session {
  readonly dataset: Dataset;
  readonly tiles: TileSet;
  readonly history: History<Selection>;
}

/** Tells what is open now; null before anything is, and for an archive. */
export type Opened = () => Session | null;
