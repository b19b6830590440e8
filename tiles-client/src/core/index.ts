/** `pointillist-client`: everything that needs no map library. */

export * from "./client.js";
export * from "./cmaps.js";
export * from "./events.js";
export * from "./filter.js";
export * from "./latest.js";
export * from "./mercator.js";
export * from "./npy.js";
export * from "./problem.js";
export * from "./scale.js";
export * from "./selection.js";
export * from "./shader.js";
export * from "./tile.js";
export * from "./tiles.js";
export * from "./types.js";
export * from "./url.js";
export * from "./values.js";
