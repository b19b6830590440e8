// Writes src/core/cmap-tables.ts from the server's own tables, so that both colour from one source.
import { readFileSync, writeFileSync } from "node:fs";

const NAMES = ["viridis", "magma", "inferno", "plasma", "cividis", "turbo", "fire"];
const DIGITS = 256 * 6;

const tables = NAMES.map((name) => {
  const digits = readFileSync(new URL(`../../src/shade/cmaps/${name}.hex`, import.meta.url), "utf8").replace(/[^0-9a-fA-F]/g, "").toLowerCase();
  if (digits.length !== DIGITS) throw new Error(`${name}.hex has ${digits.length} digits, expected ${DIGITS}`);
  return `  ${name}:\n    "${digits}",\n`;
});
const text = `/** The server's colour maps, 256 colours of six hexadecimal digits each. Written by scripts/cmaps.mjs; do not edit. */

export const TABLES = {
${tables.join("")}} as const;
`;
writeFileSync(new URL("../src/core/cmap-tables.ts", import.meta.url), text);
