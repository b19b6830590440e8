/** The dashboard. */
import { render } from "preact";

const root = document.getElementById("app");
if (root) render(<a href="/ui/leaflet.html">Map</a>, root);
