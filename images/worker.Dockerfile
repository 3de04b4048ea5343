# A worker: one bundled file on a slim Node. Built by `npm run images`, with nothing fetched but the base image.
#
# Tasks of your own: an image FROM this one with COPY tasks.ts /app/, run with the arguments --module /app/tasks.ts.
# One more line, RUN node -e "import('/app/tasks.ts')", keeps them compiled as well, which saves 50 ms of each start.
FROM node:24-bookworm-slim
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Millrace worker" \
      org.opencontainers.image.description="Takes tasks from a Redis list, runs them and writes their results" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE dist/bundle/worker.licenses.txt /usr/local/share/doc/millrace/
COPY dist/bundle/worker.body.js /usr/local/lib/millrace/
COPY dist/bundle/worker.init.sh /usr/local/lib/millrace/init.sh
COPY dist/bundle/worker.lua /usr/local/lib/millrace/
COPY dist/bundle/worker.launch.js /usr/local/lib/millrace/worker.js
COPY dist/bundle/worker.warm-up.js /usr/local/lib/millrace/warm-up.js
ENV NODE_ENV=production NODE_COMPILE_CACHE=/usr/local/lib/millrace/cache
# Compiled code of your tasks, kept for the user that runs them. Another user or another kind of processor finds none,
# cannot write one, and starts as without it.
RUN cd /usr/local/lib/millrace && mkdir cache compiled && chown 1000:1000 cache compiled
USER 1000:1000
# Compiled code of the worker, for everybody: kept by a start that does two tasks of a stand-in for Redis.
RUN node --max-semi-space-size=4 /usr/local/lib/millrace/warm-up.js && \
    test -s /usr/local/lib/millrace/compiled/worker
WORKDIR /app
# Less room for short-lived objects than Node would take saves 5 MB and costs nothing that can be measured. Two threads for V8 instead
# of four save half a megabyte.
# A tasks.ts without a package.json beside it is no mistake here.
# The first process reaps what tasks leave behind; it is a shell of less than a megabyte.
ENTRYPOINT ["/bin/sh", "/usr/local/lib/millrace/init.sh", "node", "--max-semi-space-size=4", "--v8-pool-size=2", "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON", "/usr/local/lib/millrace/worker.js"]
