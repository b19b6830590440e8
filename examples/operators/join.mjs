// Joins two columns, operator and status, to OpenCelliD's rows by (mcc, net), as the World Cell Towers application does:
//   npm install && node join.mjs 234.csv.gz 214.csv.gz > towers.csv && pointillist ingest towers.csv -o towers
// The table of operators is Wikipedia's (CC BY-SA 4.0), by way of the package mcc-mnc-list (MIT). A left join: rows without a known
// operator stay, with empty cells.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { createGunzip } from "node:zlib";
import mccMnc from "mcc-mnc-list";

const COLUMNS = ["radio", "mcc", "net", "area", "cell", "unit", "lon", "lat", "range", "samples", "changeable", "created", "updated", "averageSignal"];
const MCC = COLUMNS.indexOf("mcc");
const NET = COLUMNS.indexOf("net");

// "01" and "1" are one network to OpenCelliD, which writes numbers; the operational one wins where the table has several.
const operators = new Map();
for (const { mcc, mnc, brand, operator, status } of mccMnc.all()) {
  if (mcc === null || mnc === null) continue;
  const key = `${Number(mcc)},${Number(mnc)}`;
  if (operators.has(key) && status !== "Operational") continue;
  operators.set(key, `${quoted(brand || operator || "")},${quoted(status || "")}`);
}

function quoted(text) {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

if (process.argv.length < 3) {
  console.error("give OpenCelliD files: node join.mjs 234.csv.gz > towers.csv");
  process.exit(2);
}
let [rows, unknown] = [0, 0];
process.stdout.write(`${COLUMNS.join(",")},operator,status\n`);
for (const path of process.argv.slice(2)) {
  const file = createReadStream(path);
  for await (const line of createInterface({ input: path.endsWith(".gz") ? file.pipe(createGunzip()) : file })) {
    const cells = line.split(",");
    if (cells[0] === "radio" || cells.length < COLUMNS.length) continue;
    const found = operators.get(`${Number(cells[MCC])},${Number(cells[NET])}`);
    rows += 1;
    if (!found) unknown += 1;
    // The reader may be slower than this loop.
    if (!process.stdout.write(`${line},${found ?? ","}\n`)) await new Promise((resolve) => process.stdout.once("drain", resolve));
  }
}
console.error(`${rows} rows, ${unknown} of them without a known operator`);
