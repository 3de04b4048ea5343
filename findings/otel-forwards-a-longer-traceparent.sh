#!/usr/bin/env bash
# OpenTelemetry for JavaScript forwards a traceparent with a flag of the future in a form that it refuses itself
#
# Guess    A service that only passes the context on (the API and the propagator, no SDK) sends a traceparent whose flags it does not
#          know with the same two hex digits, or with the unknown ones cleared, as W3C Trace Context asks. Both are valid.
# Truth    It writes three digits: "0" and the number in hex. From 0x10 on the header has 56 characters, and everybody who reads it,
#          extract of the same package included, discards it: the trace ends here. Parents with the flags 01 and 03 of today
#          pass, so only the first sender that sets a higher bit will show it.
# Versions @opentelemetry/core 2.12.1 and @opentelemetry/api 1.9.1 with Node.js 24.21.0 (npm)
# Date     2026-11-29
# Source   observed; W3CTraceContextPropagator.inject of @opentelemetry/core; W3C Trace Context, "Other Flags"
# Output   03: sends ...-03, read again / 11: sends ...-011, not read / ff: sends ...-0ff, not read
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-fund --no-audit node@24.21.0 @opentelemetry/core@2.12.1 @opentelemetry/api@1.9.1
cat >see.mjs <<'JS'
import { ROOT_CONTEXT, defaultTextMapGetter, defaultTextMapSetter, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';

const propagator = new W3CTraceContextPropagator();
const read = (traceparent) => propagator.extract(ROOT_CONTEXT, { traceparent }, defaultTextMapGetter);

for (const flags of ['03', '11', 'ff']) {
  const context = read(`00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-${flags}`);
  const carrier = {};
  propagator.inject(context, carrier, defaultTextMapSetter);
  const [, , , sent] = carrier.traceparent.split('-');
  const again = trace.getSpanContext(read(carrier.traceparent));
  console.log(`${flags}: sends ...-${sent}, ${again ? 'read again' : 'not read'}`);
}
JS
node_modules/.bin/node see.mjs | tee seen
diff - seen <<'SEEN'
03: sends ...-03, read again
11: sends ...-011, not read
ff: sends ...-0ff, not read
SEEN
