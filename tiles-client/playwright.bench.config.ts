/** `npm run bench`: how much script a brush and a recolouring cost, in Chromium. Prints; asserts nothing about time. */

import { defineConfig } from "@playwright/test";
import base from "./playwright.config.js";

export default defineConfig({ ...base, testDir: "bench", timeout: 1_800_000, reporter: [["line"]] });
