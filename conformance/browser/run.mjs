// node run.mjs <file> [filter]: the tests of `tests/<file>.test.mjs`.
//
// They are run by `cargo xtask test --only browser`, in a network of their own. By hand:
//   ./in-own-network node run.mjs pages

import { runTests } from './src/suite.mjs';

const [file, filter] = process.argv.slice(2);
await import(`./tests/${file}.test.mjs`);
const code = await runTests(filter);
// Whatever a failed test left open.
process.exit(code);
