// Takes the pictures of docs/parity.md and README.md, in the system's Chromium:
//   node scripts/pictures.mjs http://127.0.0.1:8080 ../docs/images [NAME...]
// The server must have the datasets towers, ais, police and airports; docs/parity.md says how they are made.
import { join } from "node:path";
import { chromium } from "@playwright/test";

// WITHOUT_TIMES=1 leaves out how long answers took: for a machine that does other things too.
const [server, folder, ...names] = process.argv.slice(2);
if (!server || !folder) {
  console.error("give the server's address and a folder: node scripts/pictures.mjs http://127.0.0.1:8080 ../docs/images");
  process.exit(2);
}

const desktop = { width: 1280, height: 800 };
const wide = { width: 1400, height: 800 };
const phone = { width: 390, height: 844 };

/** Each: a view (what an address can say), and what is done there. */
const PICTURES = [
  { name: "dashboard-towers", hash: "#d=towers&at=4.9/52.4/-2.5&b.created='2022-10-01T00:00:00Z..'2026-01-01T00:00:00Z&markers=0", size: wide },
  { name: "dashboard-ships", hash: "#d=ais&at=4.4/34.5/-84&markers=0", size: wide, scheme: "dark" },
  { name: "parity-towers", hash: "#d=towers&legend=log&at=3.6/46.5/-8&b.range=2000..20000&markers=0" },
  { name: "parity-radio", hash: "#d=towers&legend=log&at=4.4/52.4/-8&hide==GSM,=UMTS,=NR&markers=0", scheme: "dark" },
  { name: "parity-markers", hash: "#d=towers&at=12.5/51.05/3.66&markers=5000", act: (page) => hoverMarker(page) },
  { name: "parity-operators", hash: "#d=towers&by=operator&at=5.4/52.2/-1.5&markers=0", scheme: "dark", act: (page) => page.locator(".values").first().scrollIntoViewIfNeeded().catch(() => undefined) },
  { name: "parity-ships", hash: "#d=ais&at=3.6/34/-100&b.BaseDateTime='2020-01-01T06:00:00Z..'2020-01-01T09:00:00Z&markers=0", scheme: "dark" },
  { name: "parity-ships-rows", hash: "#d=ais&at=8.4/29.4/-94.9&markers=0", act: (page) => clickFullest(page) },
  { name: "parity-ships-speed", hash: "#d=ais&at=4.4/33/-92&show=mean:SOG&palette=turbo&markers=0", scheme: "dark" },
  { name: "parity-total", hash: "#d=police&by=none&palette=fire&at=6.2/52.7/-1.9&markers=0&area=-0.6;51.2,0.4;51.2,0.4;51.8,-0.6;51.8", scheme: "dark" },
  { name: "parity-crimes", hash: "#d=police&at=9.4/51.48/-0.9&markers=0", act: (page) => page.getByLabel("Search Location").first().fill("station").catch(() => undefined) },
  { name: "parity-null", hash: "#d=airports&at=1.3/25/0&markers=0&span=1:9&how=log" },
  { name: "parity-phone", hash: "#d=ais&at=7/29.5/-90&markers=0", size: phone, scheme: "dark" },
  { name: "parity-phone-light", hash: "#d=towers&at=5/52.2/-1.5&markers=0&b.range=2000..20000", size: phone, act: (page) => page.getByRole("button", { name: "Raise the panel" }).click() },
];

/** Points at a marker in the middle of the map. */
async function hoverMarker(page) {
  const [x, y] = await page.evaluate(() => {
    const { map } = window.pointillist;
    const spots = map.queryRenderedFeatures({ layers: ["markers"] }).map(({ geometry }) => map.project(geometry.coordinates));
    const middle = spots.find((spot) => spot.x > 560 && spot.x < 900 && spot.y > 200 && spot.y < 420) ?? spots[0];
    return [middle.x, middle.y];
  });
  await page.mouse.move(x - 5, y);
  await page.mouse.move(x, y);
  await page.waitForTimeout(500);
}

/** Clicks until some rows are listed. */
async function clickFullest(page) {
  for (const [x, y] of [[703, 436], [760, 440], [700, 420], [690, 440], [715, 380], [660, 470], [740, 500], [760, 450], [640, 400]]) {
    await page.mouse.click(x, y);
    await page.waitForTimeout(1500);
    await page.waitForFunction(() => document.querySelector(".rows h2")?.textContent !== "Loading rows…", null, { timeout: 30_000 });
    if ((await page.locator(".rows tbody tr").count()) > 7) return;
  }
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-quic", "--enable-unsafe-swiftshader", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1"],
});
for (const { name, hash, act, size = desktop, scheme = "light" } of PICTURES) {
  if (names.length > 0 && !names.includes(name)) continue;
  const page = await browser.newPage({ viewport: size, colorScheme: scheme });
  // This checkout's page, whichever build of the server answers.
  await page.route(({ pathname }) => pathname === "/" || pathname.startsWith("/ui/"), (route) => {
    const { pathname } = new URL(route.request().url());
    return route.fulfill({ path: join(import.meta.dirname, "../dist", pathname === "/" ? "index.html" : pathname.slice("/ui/".length)) });
  });
  const idle = () => page.waitForFunction(() => window.pointillist?.idle === true && window.pointillist.map.loaded(), null, { timeout: 240_000 });
  await page.goto(`${server}/${hash}`);
  await idle();
  await act?.(page);
  await idle();
  // The progress line fades.
  await page.waitForTimeout(900);
  if (process.env.WITHOUT_TIMES) await page.addStyleTag({ content: ".answered { display: none }" });
  await page.screenshot({ path: join(folder, `${name}.png`) });
  console.log(name);
  await page.close();
}
await browser.close();
