/**
 * A MapLibre custom layer that keeps counts on the graphics card and colours them there: one integer array texture per
 * tile, one layer per category. A change of colours, scale or visible categories is a change of uniforms and of one
 * small table; nothing is fetched or uploaded again. Which tiles exist, and where from, is the caller's business.
 */

import type { CustomLayerInterface, CustomRenderMethodInput, Map as MapLibreMap } from "maplibre-gl";
import type { TileId } from "../core/mercator.js";
import type { Shading, Style } from "../core/shader.js";
import type { CountTile } from "../core/tile.js";

/**
 * A tile and where to draw it: `wrap` counts whole worlds to the east. `at` is the tile's own place, or a place inside
 * it, which then shows that part of it.
 */
export interface Placed {
  readonly counts: CountTile;
  readonly at: TileId;
  readonly wrap: number;
}

export interface CountLayerOptions {
  readonly id?: string;
  /** What to draw in this frame, in painting order. Called once per frame: must be quick. */
  readonly tiles: () => Iterable<Placed>;
  /** Colours of a zoom, or null to draw nothing of it. */
  readonly shading: (zoom: number) => Shading | null;
  readonly opacity?: () => number;
  /**
   * Radius in count pixels by which every point is enlarged, 0 to 3: for maps so sparse that single pixels are missed.
   * Counts of neighbours add, as with the server's `spread`; across a tile border the two sides are blended instead.
   */
  readonly spread?: () => number;
}

/** Categories that one draw call can colour; WebGL2 guarantees 224 vec4 uniforms, this leaves room. */
export const CATEGORIES_MAX = 128;

export const SPREAD_MAX = 3;

/** Colour steps in the table texture: alpha has at most 256, a ramp of 8-bit channels fewer than this. */
const STEPS_MAX = 2048;

const VERTEX = `#version 300 es
uniform mat4 u_matrix;
uniform vec3 u_part; // which part of the tile is drawn: its north-west corner and its size, 0-1
uniform float u_margin; // how far the drawing goes beyond the tile, as a share of its size
in vec2 a_corner;
out vec2 v_uv;
void main() {
  vec2 corner = a_corner * (1.0 + 2.0 * u_margin) - u_margin;
  v_uv = u_part.xy + corner * u_part.z;
  gl_Position = u_matrix * vec4(corner, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2DArray;
precision highp usampler2D;
uniform usampler2DArray u_counts;
uniform usampler2D u_steps;      // row 0: totals, row 1: packed colours
uniform int u_step_count;
uniform int u_planes;
uniform bool u_ramp;
uniform int u_spread;
uniform float u_opacity;
uniform vec4 u_colors[${CATEGORIES_MAX}]; // rgb 0-255; a: 1 visible, 0 hidden
in vec2 v_uv;
out vec4 o_color;
void main() {
  int size = textureSize(u_counts, 0).x;
  ivec2 pixel = ivec2(floor(v_uv * float(size)));
  if (u_spread == 0) pixel = clamp(pixel, ivec2(0), ivec2(size - 1));
  uint total = 0u;
  uvec3 mixed = uvec3(0u);
  for (int dy = -u_spread; dy <= u_spread; dy++) {
    for (int dx = -u_spread; dx <= u_spread; dx++) {
      ivec2 at = pixel + ivec2(dx, dy);
      if (dx * dx + dy * dy > u_spread * (u_spread + 1) || any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, ivec2(size)))) continue;
      for (int c = 0; c < u_planes; c++) {
        if (u_colors[c].a == 0.0) continue;
        uint n = texelFetch(u_counts, ivec3(at, c), 0).r;
        total += n;
        mixed += n * uvec3(u_colors[c].rgb);
      }
    }
  }
  if (total == 0u || u_step_count == 0) discard;
  int low = 0;
  int high = u_step_count;
  while (high - low > 1) {
    int middle = (low + high) / 2;
    if (texelFetch(u_steps, ivec2(middle, 0), 0).r <= total) low = middle; else high = middle;
  }
  uint packed = texelFetch(u_steps, ivec2(low, 1), 0).r;
  float alpha = float(packed >> 24u) / 255.0;
  uvec3 rgb = u_ramp ? uvec3(packed & 255u, (packed >> 8u) & 255u, (packed >> 16u) & 255u) : mixed / total;
  o_color = vec4(vec3(rgb) / 255.0 * alpha, alpha) * u_opacity;
}`;

interface Program {
  readonly program: WebGLProgram;
  readonly uniform: (name: string) => WebGLUniformLocation | null;
}

export class CountLayer implements CustomLayerInterface {
  readonly id: string;
  readonly type = "custom";
  readonly renderingMode = "2d";
  readonly #options: CountLayerOptions;
  readonly #textures = new Map<CountTile, WebGLTexture>();
  readonly #steps = new Map<Shading, { readonly texture: WebGLTexture; readonly colors: Float32Array }>();
  #program: Program | null = null;
  #corners: WebGLBuffer | null = null;
  #array: WebGLVertexArrayObject | null = null;
  #map: MapLibreMap | null = null;

  constructor(options: CountLayerOptions) {
    this.#options = options;
    this.id = options.id ?? "pointillist";
  }

  /** Draws again with what `tiles` and `shading` now say. */
  repaint(): void {
    this.#map?.triggerRepaint();
  }

  onAdd(map: MapLibreMap, gl: WebGL2RenderingContext): void {
    this.#map = map;
    const program = link(gl);
    const locations = new Map<string, WebGLUniformLocation | null>();
    this.#program = {
      program,
      uniform: (name) => {
        if (!locations.has(name)) locations.set(name, gl.getUniformLocation(program, name));
        return locations.get(name) ?? null;
      },
    };
    this.#array = gl.createVertexArray();
    this.#corners = gl.createBuffer();
    gl.bindVertexArray(this.#array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "a_corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    gl.bindVertexArray(null);
  }

  onRemove(_map: MapLibreMap, gl: WebGL2RenderingContext): void {
    for (const texture of this.#textures.values()) gl.deleteTexture(texture);
    for (const { texture } of this.#steps.values()) gl.deleteTexture(texture);
    this.#textures.clear();
    this.#steps.clear();
    gl.deleteBuffer(this.#corners);
    gl.deleteVertexArray(this.#array);
    if (this.#program) gl.deleteProgram(this.#program.program);
    this.#program = null;
    this.#map = null;
  }

  render(glAny: WebGLRenderingContext | WebGL2RenderingContext, input: CustomRenderMethodInput): void {
    const gl = glAny as WebGL2RenderingContext;
    if (!this.#program) return;
    const { program, uniform } = this.#program;
    const placed = [...this.#options.tiles()];
    gl.useProgram(program);
    gl.bindVertexArray(this.#array);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.STENCIL_TEST);
    gl.disable(gl.CULL_FACE);
    gl.uniform1i(uniform("u_counts"), 0);
    gl.uniform1i(uniform("u_steps"), 1);
    gl.uniform1f(uniform("u_opacity"), this.#options.opacity?.() ?? 1);
    const spread = Math.max(0, Math.min(SPREAD_MAX, Math.round(this.#options.spread?.() ?? 0)));
    gl.uniform1i(uniform("u_spread"), spread);

    const shadings = new Set<Shading>();
    let current: Shading | null = null;
    for (const { counts, at, wrap } of placed) {
      const shading = this.#options.shading(counts.id.z);
      if (!shading || counts.empty) continue;
      if (shading !== current) {
        this.#useShading(gl, shading);
        shadings.add(shading);
        current = shading;
      }
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.#textureOf(gl, counts));
      gl.uniform1i(uniform("u_planes"), Math.min(counts.categories, CATEGORIES_MAX));
      gl.uniformMatrix4fv(uniform("u_matrix"), false, matrixFor(input, at, wrap));
      const part = 2 ** (counts.id.z - at.z);
      gl.uniform3f(uniform("u_part"), at.x * part - counts.id.x, at.y * part - counts.id.y, part);
      // A whole tile's points may reach over its border; a part of one is cut there.
      gl.uniform1f(uniform("u_margin"), part === 1 ? spread / counts.size : 0);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
    gl.bindVertexArray(null);
    this.#forget(gl, new Set(placed.map(({ counts }) => counts)), shadings);
  }

  #useShading(gl: WebGL2RenderingContext, shading: Shading): void {
    if (!this.#program) return;
    const { uniform } = this.#program;
    gl.activeTexture(gl.TEXTURE1);
    const { steps, style } = shading;
    const size = Math.min(steps.totals.length, STEPS_MAX);
    let held = this.#steps.get(shading);
    if (held) gl.bindTexture(gl.TEXTURE_2D, held.texture);
    else {
      held = { texture: gl.createTexture(), colors: colorsOf(style) };
      this.#steps.set(shading, held);
      const table = new Uint32Array(2 * STEPS_MAX);
      table.set(steps.totals.subarray(0, size), 0);
      table.set(steps.values.subarray(0, size), STEPS_MAX);
      gl.bindTexture(gl.TEXTURE_2D, held.texture);
      exact(gl, gl.TEXTURE_2D);
      unpackPlainly(gl);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32UI, STEPS_MAX, 2, 0, gl.RED_INTEGER, gl.UNSIGNED_INT, table);
    }
    gl.uniform4fv(uniform("u_colors[0]"), held.colors);
    gl.uniform1i(uniform("u_step_count"), size);
    gl.uniform1i(uniform("u_ramp"), style.kind === "ramp" ? 1 : 0);
  }

  #textureOf(gl: WebGL2RenderingContext, counts: CountTile): WebGLTexture {
    const held = this.#textures.get(counts);
    if (held) return held;
    const texture = gl.createTexture();
    this.#textures.set(counts, texture);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    exact(gl, gl.TEXTURE_2D_ARRAY);
    unpackPlainly(gl);
    const { data, size, categories } = counts;
    const [format, type] = data instanceof Uint16Array ? [gl.R16UI, gl.UNSIGNED_SHORT] : [gl.R32UI, gl.UNSIGNED_INT];
    gl.texImage3D(gl.TEXTURE_2D_ARRAY, 0, format, size, size, categories, 0, gl.RED_INTEGER, type, data);
    return texture;
  }

  /** Textures of what was not drawn go; the counts themselves stay with the caller, and uploading again is quick. */
  #forget(gl: WebGL2RenderingContext, tiles: ReadonlySet<CountTile>, shadings: ReadonlySet<Shading>): void {
    for (const [tile, texture] of this.#textures) {
      if (tiles.has(tile)) continue;
      gl.deleteTexture(texture);
      this.#textures.delete(tile);
    }
    for (const [shading, { texture }] of this.#steps) {
      if (shadings.has(shading)) continue;
      gl.deleteTexture(texture);
      this.#steps.delete(shading);
    }
  }
}

/** Of all planes that there may be: red, green, blue, and 1 where it counts. */
function colorsOf(style: Style): Float32Array {
  const colors = new Float32Array(4 * CATEGORIES_MAX);
  for (let c = 0; c < CATEGORIES_MAX; c++) {
    const rgb = style.kind === "categories" ? style.colors[c] : undefined;
    colors.set([rgb?.[0] ?? 0, rgb?.[1] ?? 0, rgb?.[2] ?? 0, (style.visible[c] ?? true) ? 1 : 0], 4 * c);
  }
  return colors;
}

/** World-to-clip for one tile, multiplied in doubles: in floats, tiles would swim beyond about zoom 18. */
function matrixFor(input: CustomRenderMethodInput, { z, x, y }: TileId, wrap: number): Float32Array {
  const m = input.defaultProjectionData.mainMatrix;
  const size = 2 ** -z;
  const [tx, ty] = [wrap + x * size, y * size];
  const out = new Float32Array(16);
  for (let row = 0; row < 4; row++) {
    const [mx, my, mz, mw] = [m[row] ?? 0, m[4 + row] ?? 0, m[8 + row] ?? 0, m[12 + row] ?? 0];
    out[row] = mx * size;
    out[4 + row] = my * size;
    out[8 + row] = mz;
    out[12 + row] = mx * tx + my * ty + mw;
  }
  return out;
}

function exact(gl: WebGL2RenderingContext, target: number): void {
  gl.texParameteri(target, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(target, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.texParameteri(target, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(target, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
}

/** MapLibre leaves its own unpack settings behind; integer textures want none of them. */
function unpackPlainly(gl: WebGL2RenderingContext): void {
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
}

function link(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(type);
    if (!shader) throw new Error("the graphics context was lost while a shader was made");
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(`a shader does not compile: ${gl.getShaderInfoLog(shader) ?? ""}`);
    gl.attachShader(program, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`the shaders do not link: ${gl.getProgramInfoLog(program) ?? ""}`);
  return program;
}
