/** What of a row is worth showing where there is little room: what it is called, then what has charts, then the rest. */

import type { Column, Row, Stats } from "../core/index.js";
import type { Chart } from "./state.js";

/** A row's filled cells, the most telling first. The column that colours the map comes before all. */
export function tellingCells(row: Row, stats: Stats, charts: readonly Chart[]): [name: string, value: Row[string]][] {
  const columns = new Map(stats.columns.map((column) => [column.name, column]));
  const open = new Set(charts.filter((chart) => chart.open).map(({ column }) => column.name));
  const rank = (name: string): number => {
    const column = columns.get(name);
    if (name === stats.by) return 0;
    if (column && isName(column)) return 1;
    return open.has(name) ? 2 : isPlace(name) ? 4 : 3;
  };
  return Object.entries(row)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value], place) => ({ name, value, place, rank: rank(name) }))
    .sort((a, b) => a.rank - b.rank || a.place - b.place)
    .map(({ name, value }) => [name, value]);
}

/** Words with many values: a ship's name, an operator, an airport. */
function isName({ type, name }: Column): boolean {
  return type === "text" && /name|title|operator|description|place|label/i.test(name);
}

function isPlace(name: string): boolean {
  return /^(lon|lat|longitude|latitude|lng|x|y)$/i.test(name);
}
