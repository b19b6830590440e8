/** The rows under a clicked pixel, as a table in a drawer. */

import type { Controller } from "../controller.js";
import { cell, count, title } from "../format.js";
import * as state from "../state.js";
import { IconButton } from "./icons.js";

export function Rows({ controller }: { controller: Controller }) {
  const list = state.rowList.value;
  if (!list) return null;
  const names = Object.keys(list.rows[0] ?? {});
  const heading = list.loading ? "Loading rows…" : list.problem ? "The rows could not be loaded" : `${count(list.total)} ${list.total === 1 ? "row" : "rows"} here`;
  return (
    <section class="rows" aria-label="Rows under the clicked place">
      <header class="card-head">
        <h2>{heading}</h2>
        <span class="card-note">{list.total > list.rows.length && list.rows.length > 0 ? `the first ${count(list.rows.length)}` : ""}</span>
        <IconButton icon="close" label="Close the rows" onClick={() => controller.pointer.closeRows()} />
      </header>
      {list.problem && <p class="muted">{list.problem}</p>}
      {list.rows.length > 0 && (
        <div class="rows-scroll" tabIndex={0} role="region" aria-label="Table of rows">
          <table>
            <thead>
              <tr>
                {names.map((name) => (
                  <th key={name} scope="col" class={typeof list.rows[0]?.[name] === "number" ? "is-number" : ""}>
                    {title(name)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {list.rows.map((row, k) => (
                <tr key={k}>
                  {names.map((name) => (
                    <td key={name} class={typeof row[name] === "number" ? "is-number" : ""}>
                      {cell(row[name])}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
