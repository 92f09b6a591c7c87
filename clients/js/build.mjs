// The whole client in one small file, for pages without a bundler. The gateway's own pages use it, too, and have a copy
// in its package: `npm run build -- --copy` renews that one.
import { copyFile } from "node:fs/promises";
import { build } from "esbuild";

// Names that begin with _ are private; these are the package's own. Both may be shortened, as no user and no gateway
// ever sees them.
const INTERNAL =
  "inboxes|comeBack|stranger|credential|interval|lasting|current|attempts|announce|subscribe|opened|allowed|coming|" +
  "worked|heard|choose|admit|backoff|receive|begin|floor|least|woken|release|due|learn|limit|blame|why|room|" +
  "http|create|resume|progress|check|base|rest|until|tell|fail|epoch|offset|seq|failed|put|ask|open|gapOf|wake";

const FILE = "dist/stream-gateway.min.js";
const COPY = "../../gateway/stream_gateway/server/assets/stream-gateway.js";

await build({
  entryPoints: ["src/index.ts"],
  outfile: FILE,
  bundle: true,
  minify: true,
  mangleProps: new RegExp(`^(_.*|${INTERNAL})$`),
  format: "esm",
  target: "es2022",
  legalComments: "none",
});

if (process.argv.includes("--copy")) await copyFile(FILE, COPY);
