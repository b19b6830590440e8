/**
 * Starts the real server on generated towers before all tests, and stops it after them. `POINTILLIST` names the binary;
 * by default the newest of the repository's own builds. `POINTILLIST_URL` uses a server that runs already.
 */

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Enough for dense and empty places, little enough for seconds. */
const ROWS = 200_000;

/** A debug build needs some seconds to ingest and open. */
const START_TIMEOUT_MS = 120_000;

export default async function start(): Promise<() => void> {
  if (process.env["POINTILLIST_URL"]) return () => undefined;
  const binary = findBinary();
  const folder = mkdtempSync(join(tmpdir(), "pointillist-e2e-"));
  const run = (...args: string[]): void => void execFileSync(binary, args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  run("generate", "towers", "--rows", String(ROWS), "--seed", "7", "-o", "towers.parquet");
  run("ingest", "towers.parquet", "-o", "towers", "--preset", "opencellid", "--name", "towers");
  // For tests of what other commands make of the same points.
  process.env["POINTILLIST"] = binary;
  process.env["POINTILLIST_DATASET"] = join(folder, "towers");
  const server = spawn(binary, ["serve", "towers", "--listen", "127.0.0.1:0", "--backend", "cpu"], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });

  process.env["POINTILLIST_URL"] = await new Promise<string>((resolve, reject) => {
    let said = "";
    const timer = setTimeout(() => reject(new Error(`the server did not say its address in time; it said:\n${said}`)), START_TIMEOUT_MS);
    const listen = (chunk: Buffer): void => {
      said += chunk.toString();
      const address = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
      if (!address) return;
      clearTimeout(timer);
      resolve(address);
    };
    server.stdout.on("data", listen);
    server.stderr.on("data", listen);
    server.on("exit", (code) => reject(new Error(`the server ended with ${code}; it said:\n${said}`)));
  });
  return () => {
    server.removeAllListeners("exit");
    server.kill();
    rmSync(folder, { recursive: true, force: true });
  };
}

function findBinary(): string {
  const given = process.env["POINTILLIST"];
  if (given) return given;
  const built = ["../target/release/pointillist", "../target/debug/pointillist"].map((path) => join(import.meta.dirname, "..", path)).filter(existsSync);
  const newest = built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
  if (!newest) throw new Error("no pointillist binary: run `cargo build` first, or set POINTILLIST to one");
  return newest;
}
