/** Builds the pages that the server embeds: names without hashes, byte-identical across rebuilds. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "/ui/",
  experimental: {
    // Markup names files from the root, which the server changes to where it is; scripts and styles name them from where they are.
    renderBuiltUrl: (_, { hostType }) => (hostType === "html" ? undefined : { relative: true }),
  },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    chunkSizeWarningLimit: 2000,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: "index.html", leaflet: "leaflet.html" },
      output: {
        entryFileNames: "assets/[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
        // Apart: it changes with its version only, and the bench tells its script time from ours.
        advancedChunks: { groups: [{ name: "maplibre", test: /node_modules[\\/](maplibre-gl|@maplibre)/ }] },
      },
    },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  test: { include: ["test/**/*.test.ts"] },
});
