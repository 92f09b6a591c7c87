// The pages' scripts and their sheet, each one file, into the gateway's package: no network and no Node is needed where it
// runs. `--to FOLDER` puts them elsewhere. The client is the gateway's own copy, which the demo page has, too.
import { build } from "esbuild";
import { readFile } from "node:fs/promises";

const PACKAGE = "../../gateway/stream_gateway/control/assets";

const at = process.argv.indexOf("--to");
const { version } = JSON.parse(await readFile("node_modules/uplot/package.json", "utf8"));
const banner = `/*! uPlot ${version}, Copyright (c) Leon Sorokin, MIT License, github.com/leeoniya/uPlot */`;
const options = {
  outdir: at < 0 ? PACKAGE : process.argv[at + 1],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  alias: { "stream-gateway": "/console/stream-gateway.js" },
  external: ["/console/*"],
  legalComments: "none",
};

await build({ ...options, entryPoints: ["src/playground.ts"] });
await build({ ...options, entryPoints: ["src/console.ts", "src/console.css"], banner: { js: banner, css: banner } });
