/**
 * Where the server of a built page is: wherever the page's own scripts came from, be it under a path of its own (`route_prefix`) or
 * behind a proxy that added one. The server writes that path into the page's markup; what scripts ask for begins with it too.
 */

/** Where the server keeps these scripts. */
const SCRIPTS = /\/ui\/assets\/[^/]*$/;

/** The path that all of the server's addresses begin with, without a slash at the end; empty for none. */
export const SERVER: string = new URL(import.meta.url).pathname.replace(SCRIPTS, "");
