/**
 * Which charts a dataset gets, from its statistics alone: times first, then measures, then words; identifiers and
 * constants wait folded. Nothing here is configured, and everything can be opened by hand.
 */

import type { Column, Stats } from "../core/index.js";
import type { Chart } from "./state.js";

/** Charts that are open at first: what fits a laptop's height, and what one crossfilter request should carry. */
const OPEN_MAX = 6;

/** A logarithmic axis is the better guess once values span this factor. */
const LOG_FACTOR = 100;

/** And from zero only with values this great: angles and speeds start at zero too. */
const LOG_MAX_FROM_ZERO = 10_000;

const IDENTIFIER = /^(id|.*_id|.*(longitude|latitude)|mmsi|imo|lac|cid|cell|area|net|mcc|mnc|unit|callsign|zip.*|code|number|phone|lon|lat|x|y)$/i;

/** `VendorID`, `rateCodeId`. */
const CAMEL_IDENTIFIER = /[a-z]I[dD]$/;

export function inferCharts(stats: Stats): Chart[] {
  const columns = stats.columns.filter((column) => column.hot !== false && column.name !== stats.by && !isConstant(column));
  const ranked = columns.map((column, place) => ({ column, rank: rank(column, stats.rows), place }));
  ranked.sort((a, b) => a.rank - b.rank || a.place - b.place);
  let open = 0;
  return ranked.map(({ column, rank }) => ({
    column,
    kind: column.type === "text" || column.type === "boolean" ? "values" : "range",
    open: rank < 4 && open++ < OPEN_MAX,
    scale: wantsLog(column) ? "log10" : "linear",
    logCounts: null,
    search: "",
  }));
}

function isConstant({ min, max, nulls, distinct }: Column): boolean {
  return (distinct !== null && distinct <= 1 && nulls === 0) || (min !== null && min === max && nulls === 0);
}

/** Smaller is earlier; 4 and more start folded. */
function rank(column: Column, rows: number): number {
  const nearlyUnique = column.distinct !== null && rows > 1000 && column.distinct > rows * 0.5 && column.type !== "timestamp" && column.type !== "float";
  if (nearlyUnique || IDENTIFIER.test(column.name) || CAMEL_IDENTIFIER.test(column.name)) return 5;
  if (column.type === "timestamp") return 0;
  if (column.type === "text") return 2;
  if (column.type === "boolean" || (column.distinct !== null && column.distinct <= 2)) return 4;
  return 1;
}

function wantsLog({ type, min, max }: Column): boolean {
  if ((type !== "integer" && type !== "float") || typeof min !== "number" || typeof max !== "number" || min < 0) return false;
  return min > 0 ? max >= LOG_FACTOR * min : max >= LOG_MAX_FROM_ZERO;
}
