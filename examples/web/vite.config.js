// Serves the pages. The package is taken from its sources in this repository; outside it, `npm install pointillist-client` does.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const sources = fileURLToPath(new URL("../../tiles-client/src", import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^pointillist-client$/, replacement: `${sources}/core/index.ts` },
      { find: /^pointillist-client\/(\w+)$/, replacement: `${sources}/$1/index.ts` },
    ],
  },
  server: { host: "127.0.0.1", port: 5173, fs: { allow: [".", sources] } },
});
