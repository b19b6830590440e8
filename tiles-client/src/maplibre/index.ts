/** MapLibre GL 5 and later: a WebGL2 layer that colours counts on the graphics card, and the `addProtocol` route. */

export * from "./layer.js";
export * from "./protocol.js";
