// deck.gl: a TileLayer whose tiles are counts, each coloured here into the picture of a BitmapLayer. New colours are an
// update trigger of the sublayers, so the tiles are not fetched again. With plain PNG tiles `data` alone would do:
//   new TileLayer({ data: pngUrl(), tileSize: 256, renderSubLayers: ... new BitmapLayer({ image: tile.data }) })
import { Deck, MapView, WebMercatorViewport } from "@deck.gl/core";
import { TileLayer } from "@deck.gl/geo-layers";
import { BitmapLayer, GeoJsonLayer } from "@deck.gl/layers";
import { Colours, dataset, land, panel, stats } from "./common.js";

const [west, south, east, north] = stats.bounds;
const { innerWidth: width, innerHeight: height } = window;
const { longitude, latitude, zoom } = new WebMercatorViewport({ width, height }).fitBounds([[west, Math.max(-80, south)], [east, Math.min(83, north)]], { padding: 40 });

const colours = new Colours();
let style = 0;

function pictureOf(counts) {
  const image = new ImageData(counts.size, counts.size);
  colours.at(counts.id.z)?.paint(counts, image.data);
  return image;
}

function layers() {
  const { filter } = colours;
  return [
    new GeoJsonLayer({ id: "land", data: land, stroked: false, getFillColor: [251, 250, 248] }),
    new TileLayer({
      id: "points",
      tileSize: 256,
      maxZoom: stats.zooms.max,
      getTileData: async ({ index: { z, x, y }, signal }) => {
        await colours.prepare(z);
        return dataset.countTile({ z, x, y }, { filter }, signal);
      },
      updateTriggers: { getTileData: [filter], renderSubLayers: [style] },
      renderSubLayers: ({ id, data, tile: { bbox } }) =>
        data && new BitmapLayer({ id: `${id}-${style}`, image: pictureOf(data), bounds: [bbox.west, bbox.south, bbox.east, bbox.north], textureParameters: { minFilter: "nearest", magFilter: "nearest" } }),
    }),
  ];
}

const deck = new Deck({
  parent: document.getElementById("map"),
  views: new MapView({ repeat: false }),
  initialViewState: { longitude, latitude, zoom },
  controller: true,
  layers: layers(),
});

window.map = deck; // for the console
panel({
  title: "deck.gl",
  onFilter(filter) {
    colours.filter = filter;
    deck.setProps({ layers: layers() });
  },
  onHide(hidden) {
    colours.hide(hidden);
    style += 1;
    deck.setProps({ layers: layers() });
  },
});
