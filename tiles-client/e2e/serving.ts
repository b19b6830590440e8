/** Runs the real binary: makes datasets, and serves them until told to stop. */

import { execFileSync, spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";

/** A debug build needs some seconds to ingest and open. */
const START_TIMEOUT_MS = 120_000;

export interface Server {
  readonly url: string;
  /** What it has printed so far, line by line. */
  said(): string;
  /** Reads its configuration and datasets again. */
  reload(): void;
  stop(): void;
}

/** `POINTILLIST` names the binary; by default the newest of the repository's own builds. */
export function findBinary(): string {
  const given = process.env["POINTILLIST"];
  if (given) return given;
  const built = ["../target/release/pointillist", "../target/debug/pointillist"].map((path) => join(import.meta.dirname, "..", path)).filter(existsSync);
  const newest = built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
  if (!newest) throw new Error("no pointillist binary: run `cargo build` first, or set POINTILLIST to one");
  return newest;
}

/** Runs a command to its end. @returns what it printed. */
export function pointillist(folder: string, ...args: string[]): string {
  return execFileSync(findBinary(), args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
}

/** A new API key, and the line of an `access.keys` list that lets it in. */
export function newKey(folder: string, name: string, role: "read" | "admin" = "read"): { readonly key: string; readonly line: string } {
  const printed = pointillist(folder, "config", "key");
  const [, key, hash] = /key:\s+(\S+)\s+sha256:\s+(\S+)/.exec(printed) ?? [];
  if (!key || !hash) throw new Error(`config key printed no key with its hash:\n${printed}`);
  return { key, line: `    - {name: ${name}, sha256: ${hash}, role: ${role}}\n` };
}

/** Serves on a free port of this machine. */
export async function serve(folder: string, ...args: string[]): Promise<Server> {
  const server = spawn(findBinary(), ["serve", ...args, "--listen", "127.0.0.1:0", "--backend", "cpu"], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
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
  return {
    url,
    said: () => said,
    reload: () => void server.kill("SIGHUP"),
    stop() {
      server.removeAllListeners("exit");
      server.kill();
    },
  };
}
