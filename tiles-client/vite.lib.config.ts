/** Builds the package's modules, beside the pages: one file per entry, map libraries never inside. */
import { defineConfig } from "vite";

export default defineConfig({
  publicDir: false,
  build: {
    outDir: "dist/lib",
    emptyOutDir: false,
    target: "es2022",
    minify: false,
    lib: {
      entry: { core: "src/core/index.ts", maplibre: "src/maplibre/index.ts", mapbox: "src/mapbox/index.ts", leaflet: "src/leaflet/index.ts" },
      formats: ["es"],
    },
    rollupOptions: { output: { entryFileNames: "[name].js", chunkFileNames: "[name].js" } },
  },
});
