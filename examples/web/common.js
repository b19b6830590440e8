// What every page here shares and no map library matters for: which server and dataset, the panel, a basemap.
import { Client, Shading, categoryKey, createScale, parseColor, queryString } from "pointillist-client";

const asked = new URLSearchParams(location.search);

/** The pointillist server: `?server=`, or VITE_POINTILLIST when vite was started, or the default address. */
export const server = asked.get("server") ?? import.meta.env.VITE_POINTILLIST ?? "http://127.0.0.1:8080";

/** `?key=`, for a server that wants one. */
const key = asked.get("key");
const client = new Client(server, key);
const { datasets } = await client.catalog();
export const dataset = client.dataset(asked.get("d") ?? datasets[0].name);
export const stats = await dataset.stats();

/** Natural Earth's land, as GeoJSON, from the same server: no page here needs the internet. */
export const land = await (await fetch(`${server}/ui/basemap.json`)).json();
land.features = land.features.filter(({ properties }) => properties.kind === "land");

/** Addresses of finished tiles, for any library that reads `{z}/{x}/{y}`. */
export const pngUrl = (filter = "") => `${server}/${dataset.name}/{z}/{x}/{y}.png${queryString({ filter, key: key ?? undefined })}`;

/** Colours for the counts of a zoom: one distribution for the whole zoom, so that tiles agree across their borders. */
export class Colours {
  #distributions = new Map();
  #shadings = new Map();
  hidden = new Set();
  filter = "";

  /** Fetches a zoom's distribution, once. */
  async prepare(zoom) {
    const key = `${zoom} ${this.filter}`;
    if (!this.#distributions.has(key)) this.#distributions.set(key, (await dataset.legend({ zoom, filter: this.filter })).distribution);
  }

  /** The colours of a zoom, or null before its distribution has come. */
  at(zoom) {
    const key = `${zoom} ${this.filter}`;
    const distribution = this.#distributions.get(key);
    if (!distribution) return null;
    if (!this.#shadings.has(key)) {
      const { categories } = stats;
      const style = { kind: "categories", colors: categories.map(({ color }) => parseColor(color)), visible: categories.map((c) => !this.hidden.has(categoryKey(c))), minAlpha: 100 };
      this.#shadings.set(key, new Shading(createScale("eq_hist", distribution), style));
    }
    return this.#shadings.get(key);
  }

  hide(hidden) {
    this.hidden = hidden;
    this.#shadings.clear();
  }
}

/**
 * A panel with the total, a box for a CQL2 filter and, where the page can hide categories, a legend to click.
 * `onFilter(filter)` and `onHide(keys)` are told what was chosen.
 */
export function panel({ title, onFilter, onHide }) {
  const box = document.createElement("aside");
  box.innerHTML = `<a href="./">examples</a><h1></h1><strong></strong> points<ul></ul><form><input placeholder="filter, such as range > 5000" aria-label="CQL2 filter" /><output role="status"></output></form>`;
  const [heading, total, list, form, input, output] = ["h1", "strong", "ul", "form", "input", "output"].map((tag) => box.querySelector(tag));
  heading.textContent = title;
  total.textContent = stats.rows.toLocaleString("en-GB");
  const hidden = new Set();
  for (const category of stats.categories) {
    const key = categoryKey(category);
    const button = document.createElement("button");
    button.textContent = category.label;
    button.style.setProperty("--swatch", category.color);
    button.disabled = !onHide;
    button.setAttribute("aria-pressed", "true");
    button.onclick = () => {
      if (!hidden.delete(key)) hidden.add(key);
      button.setAttribute("aria-pressed", String(!hidden.has(key)));
      onHide(new Set(hidden));
    };
    list.append(Object.assign(document.createElement("li"), {}));
    list.lastChild.append(button);
  }
  form.onsubmit = async (event) => {
    event.preventDefault();
    output.textContent = "";
    try {
      // The server checks the filter, and says in words what is wrong with it.
      const { rows } = await dataset.stats(input.value ? { filter: input.value } : {});
      total.textContent = rows.toLocaleString("en-GB");
      await onFilter(input.value);
    } catch (error) {
      output.textContent = error.message;
    }
  };
  document.body.append(box);
}
