/**
 * Ends the process with one sentence where Node.js is too old for Millrace, instead of whatever an old Node happens to trip over first.
 * Loaded before anything else: by the npm scripts (`node -r`), by vitest.config.ts and by the published programs. So it is
 * CommonJS in the JavaScript of 2009, which any Node parses. The number is the one of package.json's `engines`; a unit test
 * holds them equal.
 */
'use strict';

var NEEDED = 24;

if (parseInt(process.versions.node, 10) < NEEDED) {
  console.error(
    'Millrace needs Node.js ' +
      NEEDED +
      ' or newer, and this is ' +
      process.version +
      ' (' +
      process.execPath +
      '): install one from nodejs.org or by a version manager (nvm install ' +
      NEEDED +
      '), or, in a checkout, run `npm ci`, which brings one, and then call node_modules/.bin/node.',
  );
  process.exit(1);
}
