/** Browser tests against the real server. The browser is the system's; software rendering needs patience, not speed. */

import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "e2e",
  timeout: 90_000,
  expect: { timeout: 30_000 },
  // Two cores: two browsers with software rendering starve each other.
  workers: 1,
  reporter: [["list"]],
  globalSetup: "./e2e/server.ts",
  use: {
    browserName: "chromium",
    viewport: { width: 1100, height: 700 },
    deviceScaleFactor: 1,
    colorScheme: "light",
    launchOptions: {
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-unsafe-swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
      ],
    },
  },
});
