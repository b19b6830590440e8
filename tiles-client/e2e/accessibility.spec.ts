/** axe-core's rules on the dashboard as it opens, as it is used, in both themes and on a phone. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, type Dashboard } from "./fixture.js";

const AXE = readFileSync(join(import.meta.dirname, "../node_modules/axe-core/axe.min.js"), "utf8");

interface Violation {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly target: readonly string[]; readonly failureSummary: string }[];
}

async function violations({ page }: Dashboard): Promise<string[]> {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } };
    return (await axe.run()).violations;
  });
  return found.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${help}: ${target.join(" ")}: ${failureSummary.replace(/\s+/g, " ")}`));
}

for (const theme of ["light", "dark"] as const) {
  test(`breaks no rule of axe-core: ${theme}`, async ({ dashboard }) => {
    const { page } = dashboard;
    await dashboard.open(`#d=towers&at=3/48/10&markers=0&theme=${theme}&b.range=100..2000&hide==GSM`);
    expect(await violations(dashboard)).toEqual([]);
    // Everything that folds, open.
    for (const name of ["Colours", "Export"]) await page.getByRole("button", { name, exact: true }).click();
    await page.getByRole("button", { name: "Clear Range" }).hover();
    expect(await violations(dashboard)).toEqual([]);
    await page.setViewportSize({ width: 390, height: 844 });
    await dashboard.idle();
    expect(await violations(dashboard)).toEqual([]);
  });
}
