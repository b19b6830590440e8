"""The exact counts of a map tile as a NumPy array, and the rows behind one of its pixels.

pip install numpy; python counts.py [http://127.0.0.1:8080]
"""

import io
import json
import sys
import urllib.parse
import urllib.request

import numpy as np

server = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"


def get(path, **query):
    return urllib.request.urlopen(f"{server}{path}?{urllib.parse.urlencode(query)}").read()


name = json.loads(get("/catalog"))["datasets"][0]["name"]
stats = json.loads(get(f"/{name}/stats"))

# u32, [category][row][column], row 0 north; categories in the order of /stats.
counts = np.load(io.BytesIO(get(f"/{name}/0/0/0.npy")))
for category, plane in zip(stats["categories"], counts):
    print(f"{category['label']:>12}  {plane.sum():>12,}")
assert counts.sum() == stats["rows"], "a tile of the whole world holds every point, once"

row, column = np.unravel_index(counts.sum(axis=0).argmax(), counts.shape[1:])
rows = json.loads(get(f"/{name}/points", tile="0/0/0", pixel=f"{column},{row}", limit=3))
print(f"the fullest pixel, {column},{row}, holds {rows['total']:,} points, among them:")
for one in rows["rows"]:
    print("  ", one)
