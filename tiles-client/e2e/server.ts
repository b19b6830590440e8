/** Starts the real server on generated towers before all tests, and stops it after them. `POINTILLIST_URL` uses a server that runs already. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findBinary, pointillist, serve } from "./serving.js";

/** Enough for dense and empty places, little enough for seconds. */
const ROWS = 200_000;

export default async function start(): Promise<() => void> {
  if (process.env["POINTILLIST_URL"]) return () => undefined;
  const folder = mkdtempSync(join(tmpdir(), "pointillist-e2e-"));
  // For tests of what other commands make of the same points.
  process.env["POINTILLIST"] = findBinary();
  process.env["POINTILLIST_DATASET"] = join(folder, "towers");
  pointillist(folder, "generate", "towers", "--rows", String(ROWS), "--seed", "7", "-o", "towers.parquet");
  pointillist(folder, "ingest", "towers.parquet", "-o", "towers", "--preset", "opencellid", "--name", "towers");
  const server = await serve(folder, "towers");
  process.env["POINTILLIST_URL"] = server.url;
  return () => {
    server.stop();
    rmSync(folder, { recursive: true, force: true });
  };
}
