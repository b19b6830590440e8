// Makes land.png and lanes.txt, the two derived files beside this script. Run it only when they shall change:
//   npm install --no-save world-atlas@2.0.2 topojson-client@3.1.0 && node make.mjs
// land.png: 7200 x 3600 pixels of 0.05 degree, 1 bit, white = land, row 0 at the north pole, column 0 at -180. Rasterised from Natural Earth 1:10m
//   land (public domain) as packed by the npm package world-atlas.
// lanes.txt: one ship lane a line, "weight lon,lat lon,lat ..." in degrees; lon runs on past 180 where a lane crosses the antimeridian. Each lane is
//   the cheapest way over the sea between two of ports.csv (Dijkstra on a 0.2 degree grid that shuns coasts), simplified.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { deflateSync, crc32 as zlibCrc32 } from 'node:zlib';
import { feature } from 'topojson-client';

const atlas = JSON.parse(readFileSync(createRequire(import.meta.url).resolve('world-atlas/land-10m.json')));
const W = 7200, H = 3600, PER_DEGREE = 20;

function rasterise() {
  const land = new Uint8Array(W * H);
  for (const polygon of feature(atlas, atlas.objects.land).features.flatMap((f) => f.geometry.coordinates)) {
    // Ring by ring with exclusive or, so that holes are cut wherever they lie relative to the antimeridian.
    for (const ring of polygon) flip(land, unrolled(ring));
  }
  return land;
}

// The ring with longitudes that run on past 180 where it crosses the antimeridian; one around the pole (Antarctica) is closed through it.
function unrolled(ring) {
  const out = [[...ring[0]]];
  for (const [lon, lat] of ring.slice(1)) {
    const last = out.at(-1)[0];
    out.push([lon - 360 * Math.round((lon - last) / 360), lat]);
  }
  if (Math.abs(out.at(-1)[0] - out[0][0]) > 180) out.push([out.at(-1)[0], -90], [out[0][0], -90], out[0]);
  return out;
}

function flip(land, ring) {
  const crossings = new Map();
  for (let i = 0; i + 1 < ring.length; i++) {
    let [[x0, y0], [x1, y1]] = [ring[i], ring[i + 1]];
    if (y0 === y1) continue;
    if (y0 > y1) [x0, y0, x1, y1] = [x1, y1, x0, y0];
    // Rows whose centre latitude lies in [y0, y1).
    for (let row = Math.max(0, Math.floor((90 - y1) * PER_DEGREE - 0.5)); row < H; row++) {
      const lat = 90 - (row + 0.5) / PER_DEGREE;
      if (lat < y0) break;
      if (lat < y1) crossings.set(row, [...(crossings.get(row) ?? []), x0 + ((lat - y0) / (y1 - y0)) * (x1 - x0)]);
    }
  }
  for (const [row, at] of crossings) {
    at.sort((a, b) => a - b);
    for (let i = 0; i + 1 < at.length; i += 2) {
      for (let column = Math.ceil((at[i] + 180) * PER_DEGREE - 0.5); (column + 0.5) / PER_DEGREE - 180 < at[i + 1]; column++) {
        land[row * W + ((column % W) + W) % W] ^= 1;
      }
    }
  }
}

function png(land) {
  const stride = W / 8, raw = Buffer.alloc(H * (stride + 1));
  for (let row = 0; row < H; row++) for (let x = 0; x < W; x++) if (land[row * W + x]) raw[row * (stride + 1) + 1 + (x >> 3)] |= 128 >> (x & 7);
  // Filter 2 (difference to the row above) makes coastlines cheap.
  for (let row = H - 1; row >= 0; row--) {
    const at = row * (stride + 1);
    for (let i = stride; i >= 1; i--) if (row) raw[at + i] = (raw[at + i] - raw[at - stride - 1 + i]) & 255;
    raw[at] = row ? 2 : 0;
  }
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]), out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length, 0); body.copy(out, 4); out.writeUInt32BE(zlibCrc32(body), body.length + 4);
    return out;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(W, 0); header.writeUInt32BE(H, 4); header[8] = 1;
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('IDAT', deflateSync(raw, { level: 9 })), chunk('IEND', Buffer.alloc(0))]);
}

const land = rasterise();
writeFileSync('land.png', png(land));

// The lane grid: 0.2 degree; a cell is open when at least half of it is sea.
const w = 1800, h = 900, open = new Uint8Array(w * h);
for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
  let dry = 0;
  for (let dy = 0; dy < 4; dy++) for (let dx = 0; dx < 4; dx++) dry += land[(y * 4 + dy) * W + x * 4 + dx];
  open[y * w + x] = dry <= 8 ? 1 : 0;
}
const cell = (lon, lat) => Math.min(h - 1, Math.floor((90 - lat) * 5)) * w + ((Math.floor((lon + 180) * 5) % w) + w) % w;
// Straits and canals narrower than the grid, opened by hand.
const passages = [
  [[32.3, 31.6], [32.35, 30.5], [32.55, 29.9], [32.7, 29.2]], [[-79.9, 9.6], [-79.7, 9.1], [-79.5, 8.7]],
  [[25.6, 39.9], [26.3, 40.1], [26.8, 40.5], [28.0, 40.7], [28.9, 40.9], [29.1, 41.3]], [[-6.2, 35.9], [-5.5, 35.95], [-4.8, 36.0]],
  [[12.5, 56.3], [12.7, 55.9], [12.7, 55.3]], [[10.8, 56.0], [10.9, 55.4], [10.8, 54.8], [11.3, 54.5]], [[9.2, 53.9], [9.7, 54.2], [10.3, 54.5]],
  [[103.3, 1.2], [103.9, 1.2], [104.6, 1.3]], [[36.4, 44.9], [36.6, 45.2], [36.7, 45.6]], [[15.6, 38.4], [15.6, 38.0]], [[-74.8, 48.0], [-70.0, 48.2], [-68.5, 48.9]],
  [[130.7, 33.9], [131.2, 33.9], [131.8, 33.9], [133.0, 34.1], [134.3, 34.3], [135.2, 34.5]], [[-124.7, 48.4], [-123.3, 48.25], [-123.2, 49.0]], [[142.2, -10.6], [143.2, -10.4]],
  [[-71.5, -52.5], [-70.5, -53.0], [-70.9, -53.6], [-72.5, -53.4], [-74.5, -52.6]], [[1.2, 50.9], [1.8, 51.2]], [[43.2, 12.9], [43.4, 12.4]],
];
for (const line of passages) for (let i = 0; i + 1 < line.length; i++) for (let t = 0; t <= 40; t++) {
  open[cell(line[i][0] + (line[i + 1][0] - line[i][0]) * t / 40, line[i][1] + (line[i + 1][1] - line[i][1]) * t / 40)] = 1;
}
// No lanes through the ice: north of 75 degrees, north of 66 away from Europe, and south of 57.
for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
  const lat = 90 - (y + 0.5) / 5, lon = (x + 0.5) / 5 - 180;
  if (lat > 75 || lat < -57 || (lat > 66 && (lon > 55 || lon < -30))) open[y * w + x] = 0;
}

// Grid steps to the nearest closed cell, to 6: ships keep off coasts where there is room.
const room = new Uint8Array(w * h);
for (let i = 0; i < w * h; i++) room[i] = open[i] ? 6 : 0;
for (let pass = 0; pass < 6; pass++) for (let y = 1; y < h - 1; y++) for (let x = 0; x < w; x++) {
  const i = y * w + x, l = y * w + (x + w - 1) % w, r = y * w + (x + 1) % w;
  room[i] = Math.min(room[i], room[l] + 1, room[r] + 1, room[i - w] + 1, room[i + w] + 1);
}
const price = [Infinity, 3.0, 1.9, 1.5, 1.25, 1.1, 1.0];
const steps = [[1, 0], [0, 1], [1, 1], [1, -1], [2, 1], [1, 2], [2, -1], [1, -2], [3, 1], [1, 3], [3, -1], [1, -3]].flatMap(([a, b]) => [[a, b], [-a, -b]]);

// Of each cell, the steps that stay on open cells, as bits; and the length of each step from each row, in cells of latitude.
const reach = new Int32Array(w * h), lengths = new Float32Array(h * steps.length);
for (let y = 4; y < h - 4; y++) for (let s = 0; s < steps.length; s++) {
  const [dx, dy] = steps[s], n = Math.max(Math.abs(dx), Math.abs(dy));
  lengths[y * steps.length + s] = Math.hypot(dx * Math.cos((90 - (y + 0.5 + dy / 2) / 5) * Math.PI / 180), dy);
  for (let x = 0; x < w; x++) {
    let clear = open[y * w + x];
    for (let k = 1; k <= n && clear; k++) clear = open[Math.round(y + dy * k / n) * w + (Math.round(x + dx * k / n) + w) % w];
    reach[y * w + x] |= clear << s;
  }
}

// Distances over the sea from one cell. A queue of buckets, each narrower than the shortest step, so that a cell is final when its bucket is reached.
const BUCKET = 0.2;
function dijkstra(from) {
  const cost = new Float32Array(w * h).fill(Infinity), back = new Int32Array(w * h).fill(-1), done = new Uint8Array(w * h), buckets = [[from]];
  cost[from] = 0;
  for (let bucket = 0; bucket < buckets.length; bucket++) for (const at of buckets[bucket] ?? []) {
    if (done[at]) continue;
    done[at] = 1;
    const y = Math.floor(at / w), x = at - y * w, ways = reach[at];
    for (let s = 0; s < steps.length; s++) {
      if (!(ways >> s & 1)) continue;
      let column = x + steps[s][0];
      if (column < 0) column += w; else if (column >= w) column -= w;
      const to = (y + steps[s][1]) * w + column, next = cost[at] + lengths[y * steps.length + s] * price[room[to]];
      if (next < cost[to]) {
        cost[to] = next; back[to] = at;
        (buckets[Math.floor(next / BUCKET)] ??= []).push(to);
      }
    }
  }
  return { cost, back };
}

// Points along the great circle from a to b, about every half degree, both ends included; lon runs on past 180.
function greatCircle(a, b) {
  const unit = ([lon, lat]) => { const [l, p] = [lon * Math.PI / 180, lat * Math.PI / 180]; return [Math.cos(p) * Math.cos(l), Math.cos(p) * Math.sin(l), Math.sin(p)]; };
  const [u, v] = [unit(a), unit(b)], angle = Math.acos(Math.min(1, u[0] * v[0] + u[1] * v[1] + u[2] * v[2])), n = Math.max(1, Math.ceil(angle * 180 / Math.PI * 2));
  const points = [a];
  for (let i = 1; i <= n; i++) {
    const [p, q] = [Math.sin((1 - i / n) * angle) / Math.sin(angle), Math.sin(i / n * angle) / Math.sin(angle)], m = u.map((c, k) => c * p + v[k] * q);
    const point = i === n ? [...b] : [Math.atan2(m[1], m[0]) * 180 / Math.PI, Math.asin(Math.max(-1, Math.min(1, m[2]))) * 180 / Math.PI];
    while (point[0] - points.at(-1)[0] > 180) point[0] -= 360;
    while (point[0] - points.at(-1)[0] < -180) point[0] += 360;
    points.push(point);
  }
  return points;
}

// Replaces what the grid's sixteen directions bent by great circles wherever these run as clear of the coast.
function straighten(path) {
  const at = ([lon, lat]) => room[cell(lon, lat)];
  const out = [path[0]];
  for (let i = 0; i < path.length - 1;) {
    let best = i + 1, arc = [path[i], path[i + 1]];
    for (let step = path.length - 1 - i; step > 1; step = Math.floor(step * 0.85)) {
      const j = i + step, candidate = greatCircle(path[i], path[j]);
      const room = Math.min(...path.slice(i, j + 1).map(at));
      if (candidate.every((point) => at(point) >= Math.max(1, room))) { best = j; arc = candidate; break; }
    }
    for (const point of arc.slice(1)) {
      const p = [...point];
      while (p[0] - out.at(-1)[0] > 180) p[0] -= 360;
      while (p[0] - out.at(-1)[0] < -180) p[0] += 360;
      out.push(p);
    }
    i = best;
  }
  return out;
}

function simplify(points, tolerance) {
  if (points.length < 3) return points;
  const [a, b] = [points[0], points.at(-1)], length = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1e-9;
  let far = 0, at = 0;
  for (let i = 1; i < points.length - 1; i++) {
    const off = Math.abs((b[0] - a[0]) * (a[1] - points[i][1]) - (a[0] - points[i][0]) * (b[1] - a[1])) / length;
    if (off > far) [far, at] = [off, i];
  }
  return far <= tolerance ? [a, b] : [...simplify(points.slice(0, at + 1), tolerance).slice(0, -1), ...simplify(points.slice(at), tolerance)];
}

const ports = readFileSync('ports.csv', 'utf8').split('\n').filter((l) => l && l[0] !== '#').map((l) => l.split(','))
  .map(([name, lon, lat, weight]) => ({ name, lon: +lon, lat: +lat, weight: +weight }));
for (const port of ports) {
  port.cell = cell(port.lon, port.lat);
  // A port on a closed cell moves to the nearest open one.
  let best = Infinity; const y0 = Math.floor(port.cell / w), x0 = port.cell % w;
  for (let dy = -6; dy <= 6; dy++) for (let dx = -6; dx <= 6; dx++) {
    const i = (y0 + dy) * w + (x0 + dx + w) % w;
    if (room[i] > 0 && dx * dx + dy * dy < best) { best = dx * dx + dy * dy; port.cell = i; }
  }
  if (best > 0) console.error(`${port.name}: moved ${Math.sqrt(best).toFixed(1)} cells`);
}
const lanes = [];
const pairs = new Set();
ports.forEach((port, i) => {
  const { cost, back } = dijkstra(port.cell);
  const others = ports.map((other, j) => ({ j, cost: cost[other.cell], pull: Math.sqrt(port.weight * other.weight) / (40 + cost[other.cell]) })).filter((o) => o.j !== i && o.cost < Infinity);
  if (others.length < ports.length / 2) console.error(`${port.name}: reaches only ${others.length} ports`);
  const near = [...others].sort((a, b) => a.cost - b.cost).slice(0, 2);
  const strong = [...others].sort((a, b) => b.pull - a.pull).slice(0, port.weight >= 30 ? 6 : 2);
  const far = [...others].filter((o) => o.cost > 250).sort((a, b) => ports[b.j].weight / Math.sqrt(b.cost) - ports[a.j].weight / Math.sqrt(a.cost)).slice(0, port.weight >= 40 ? 4 : port.weight >= 15 ? 2 : 0);
  for (const { j, pull } of [...near, ...strong, ...far]) {
    const key = i < j ? `${i}-${j}` : `${j}-${i}`;
    if (pairs.has(key)) continue;
    pairs.add(key);
    const path = [];
    for (let at = ports[j].cell; at !== -1; at = back[at]) path.push([(at % w + 0.5) / 5 - 180, 90 - (Math.floor(at / w) + 0.5) / 5]);
    path.reverse();
    for (let k = 1; k < path.length; k++) { while (path[k][0] - path[k - 1][0] > 180) path[k][0] -= 360; while (path[k][0] - path[k - 1][0] < -180) path[k][0] += 360; }
    lanes.push(`${(pull * 100).toFixed(0)} ${simplify(straighten(path), 0.1).map(([lon, lat]) => `${lon.toFixed(1)},${lat.toFixed(1)}`).join(' ')}`);
  }
  if (i % 20 === 0) console.error(`${i + 1} of ${ports.length} ports`);
});
writeFileSync('lanes.txt', lanes.join('\n') + '\n');
console.error(`${lanes.length} lanes`);
