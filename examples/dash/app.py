"""World Cell Towers in Dash: a map, three linked charts and a total over millions of towers.

    pointillist demo towers            # or: pointillist serve your-opencellid-dataset
    pip install -r requirements.txt
    python app.py                      # http://127.0.0.1:8050

pointillist keeps the rows, counts them and draws the tiles; this program keeps nothing, so any number of workers may
run it. POINTILLIST_URL names another server than http://127.0.0.1:8080."""

import os
from math import log2, log10
from urllib.parse import urlencode

import dash_leaflet as dl
import plotly.graph_objects as go
import requests
from dash import Dash, Input, Output, State, ctx, dcc, html
from dash.exceptions import PreventUpdate

SERVER = os.environ.get("POINTILLIST_URL", "http://127.0.0.1:8080")
NAME = os.environ.get("POINTILLIST_DATASET") or requests.get(f"{SERVER}/catalog", timeout=10).json()["datasets"][0]["name"]
STATS = requests.get(f"{SERVER}/{NAME}/stats", timeout=10).json()
CREDIT = requests.get(f"{SERVER}/{NAME}.json", timeout=10).json().get("attribution", "") + " · Natural Earth"
LAND = requests.get(f"{SERVER}/ui/basemap.json", timeout=10).json()
LAND["features"] = [feature for feature in LAND["features"] if feature["properties"]["kind"] == "land"]
COLORS = {"UMTS": "#2ca02c", "LTE": "#d62728", "GSM": "#1f77b4", "CDMA": "#ff7f0e", "NR": "#9467bd", "NBIOT": "#8c564b"}
BASE, SUBSET, BRUSHED, UNBRUSHED = "#b0bec5", "#546e7a", "#37474f", "#78909c"
TILES = f"{SERVER}/{NAME}/{{z}}/{{x}}/{{y}}.png"
RADIOS = [one["value"] for one in STATS["categories"] if one["value"] in COLORS]
MARKERS_MAX = 1000  # below so many towers they become single markers
COLUMNS = [{"column": "radio"}, {"column": "range", "bins": 20, "scale": "log10"}, {"column": "created", "bins": 32}]


def crossfilter(bbox, zoom, brushes):
    """Every chart's counts in view, each under all brushes but its own; the total; and the filter for the tiles."""
    body = {"bbox": bbox, "zoom": zoom, "brushes": brushes, "columns": COLUMNS}
    return requests.post(f"{SERVER}/{NAME}/crossfilter", json=body, timeout=30).json()


def layout(revision, **axes):
    """What the charts share. The same revisions keep the user's brush through an update; a new one drops it."""
    return dict(
        margin=dict(l=48, r=8, t=8, b=28), height=180, showlegend=False, barmode="overlay", dragmode="select", template="plotly_white",
        selectdirection="h", uirevision="same", selectionrevision=revision, newselection=dict(line=dict(color=BRUSHED)), **axes,
    )


def radio_figure(all_bins, bins, revision, chosen):
    order = [bin["value"] for bin in reversed(all_bins)]
    picked = [order.index(value) for value in chosen if value in order] if chosen else None
    figure = go.Figure(layout=layout(revision, clickmode="event+select", xaxis=dict(type="log")))
    for part, colors in ((all_bins, BASE), (bins, [COLORS.get(value, SUBSET) for value in order])):
        counts = {bin["value"]: bin["count"] for bin in part}
        figure.add_bar(
            y=order, x=[counts.get(value) for value in order], orientation="h", marker_color=colors,
            selectedpoints=picked if part is bins else None, hovertemplate="%{y}: %{x:,}<extra></extra>",
        )
    return figure


def histogram_figure(all_bins, bins, revision, chosen, place, **xaxis):
    figure = go.Figure(layout=layout(revision, xaxis=xaxis, yaxis=dict(type="log")))
    for part, color in ((all_bins, BASE), (bins, SUBSET)):
        edges = [(place(bin["lo"]), place(bin["hi"])) for bin in part]
        middles = [sum(edge) / 2 for edge in edges]
        picked = [k for k, middle in enumerate(middles) if place(chosen[0]) <= middle < place(chosen[1])] if chosen and part is bins else None
        figure.add_bar(
            x=middles, width=[0.95 * (hi - lo) for lo, hi in edges], y=[bin["count"] or None for bin in part], marker_color=color, selectedpoints=picked,
            customdata=[f"{bin['lo']} to {bin['hi']}".replace("T00:00:00Z", "") for bin in part], hovertemplate="%{customdata}: %{y:,}<extra></extra>",
            selected=dict(marker=dict(color=BRUSHED)), unselected=dict(marker=dict(color=UNBRUSHED, opacity=0.8)),
        )
    return figure


def years(time):  # 2003.5 for the middle of 2003: an axis on which whole years are whole numbers
    return int(time[:4]) + (int(time[5:7]) - 1) / 12


def marker(row):
    text = ", ".join(f"{name} {row[name]}" for name in row if name not in ("lon", "lat") and row[name] is not None)
    return dl.CircleMarker(dl.Tooltip(text), center=[row["lat"], row["lon"]], radius=5, color=COLORS.get(row["radio"], SUBSET), fillOpacity=0.7)


def card(title, name):
    return html.Div([html.B(title), dcc.Graph(id=name, config=dict(displayModeBar=False))], style=dict(flex="1 1 300px", minWidth=0))


app = Dash(__name__, title="World Cell Towers")
west, south, east, north = STATS["bounds"]
ZOOM = max(1, min(14, int(log2(360 / 256 / max((east - west) / 1150, (north - south) / 300)))))  # all of it in the map's pixels
app.layout = html.Div(
    style=dict(fontFamily="system-ui, sans-serif", maxWidth="1200px", margin="0 auto", padding="8px 16px", color=BRUSHED),
    children=[
        dcc.Store(id="brushes", data=dict(revision=0)),
        html.Div(style=dict(display="flex", alignItems="baseline", gap="12px"), children=[
            html.H2("World Cell Towers"), dcc.Loading(html.B(id="total", style=dict(fontSize="24px")), delay_show=300),
            html.Span("towers selected in the map's view"), html.Button("Reset all", id="reset"),
        ]),
        dl.Map(id="map", style=dict(height="500px", background="#e3e9ee"), center=[(south + north) / 2, (west + east) / 2], zoom=ZOOM, preferCanvas=True, children=[
            dl.Pane(dl.GeoJSON(data=LAND, interactive=False, style=dict(stroke=False, fillColor="#fbfaf8", fillOpacity=1)), name="land", style=dict(zIndex=100)),
            dl.TileLayer(id="tiles", url=TILES, noWrap=True, bounds=[[-85.06, -180], [85.06, 180]], attribution=CREDIT), dl.LayerGroup(id="markers"),
        ]),
        html.Div([card("Radio", "radio"), card("Signal range, metres", "range"), card("Construction date", "created")], style=dict(display="flex", flexWrap="wrap")),
        html.Small("Click or shift-click a radio, drag over a histogram. Charts count the map's view, each without its own brush."),
    ],
)


@app.callback(
    Output("brushes", "data"), Input("radio", "selectedData"), Input("range", "selectedData"), Input("created", "selectedData"),
    Input("reset", "n_clicks"), State("brushes", "data"), prevent_initial_call=True,
)
def brush(radio, distance, created, _reset, before):
    """The brushes after a gesture; the revision counts the resets."""
    chart = ctx.triggered_id
    if chart == "reset":
        return dict(revision=before["revision"] + 1)
    selected = dict(radio=radio, range=distance, created=created)[chart]
    if selected and not selected["points"]:
        raise PreventUpdate  # a redrawn chart, and no gesture
    now = {name: values for name, values in before.items() if name != chart}
    if selected and chart == "radio":
        now[chart] = sorted({point["y"] for point in selected["points"]})
    elif selected:
        lo, hi = sorted(selected["range"]["x"])
        now[chart] = [round(10**at) if chart == "range" else f"{int(at)}-{int(at % 1 * 12) + 1:02}-01T00:00:00Z" for at in (lo, hi)]
    return now


@app.callback(
    Output("total", "children"), Output("tiles", "url"), Output("markers", "children"), Output("radio", "figure"), Output("range", "figure"),
    Output("created", "figure"), Input("brushes", "data"), Input("map", "bounds"), Input("map", "zoom"),
)
def show(chosen, bounds, zoom):
    brushes = {name: values for name, values in chosen.items() if name != "revision"}
    (south, west), (north, east) = bounds or [[-90, -180], [90, 180]]
    bbox = [max(-180, west), max(-90, south), min(180, east), min(90, north)]
    whole, answer = crossfilter(bbox, zoom or ZOOM, {}), crossfilter(bbox, zoom or ZOOM, brushes)
    style = urlencode(dict(filter=answer["filter"], min_alpha=100, colors=",".join(f"{name}:{COLORS[name][1:]}" for name in RADIOS)))
    where = dict(bbox=",".join(map(str, bbox)), filter=answer["filter"], limit=MARKERS_MAX)
    rows = requests.get(f"{SERVER}/{NAME}/points", params=where, timeout=30).json()["rows"] if 0 < answer["selected"] <= MARKERS_MAX else []
    charts = {name: [source["histograms"][name]["bins"] for source in (whole, answer)] + [chosen["revision"], brushes.get(name)] for name in ("radio", "range", "created")}
    return (
        f"{answer['selected']:,}", f"{TILES}?{style}", [marker(row) for row in rows], radio_figure(*charts["radio"]),
        histogram_figure(*charts["range"], log10, tickvals=[2, 3, 4, 5], ticktext=["100", "1k", "10k", "100k"]), histogram_figure(*charts["created"], years),
    )


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8050")))
