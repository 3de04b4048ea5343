#!/usr/bin/env bash
# Makes sure that the images which Dockerfiles start from are here: pulled where a registry can be reached, else built under
# the same names from Debian's packages and npm's `node`, with what our images and tests need of them.
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
images=("$NODE_BASE" "$REDIS_BASE" "$PYTHON_BASE")
all_here() { for image in "${images[@]}"; do have_image "$image" || return 1; done; }
all_here && exit 0
one_at_a_time base-images
all_here && exit 0
pull_all() { for image in "${images[@]}"; do pull "$image" || return 1; done; }
pull_all && exit 0

say "no registry has ${images[*]}, building stand-ins"
export DOCKER_BUILDKIT=0
root=$cache/root-slim
if [ ! -e "$root.done" ]; then
  "$here/debian.sh" "$root" ca-certificates libstdc++6 redis-server python3
  touch "$root.done"
fi
node=$cache/node24/node_modules/node/bin
[ -x "$node/node" ] || npm install --silent --no-fund --no-audit --prefix "$cache/node24" node@24
tar -C "$root" -c . | docker import -c 'CMD ["bash"]' - millrace-test/debian:bookworm-slim >/dev/null
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT

# image NAME CONTEXT, with the Dockerfile on standard input
image() {
  have_image "$1" || docker build -q -t "$1" -f - "$2" >"$cache/build.log" 2>&1 ||
    { cat "$cache/build.log" >&2; fail "could not build $1"; }
}
image "$NODE_BASE" "$node" <<'D'
FROM millrace-test/debian:bookworm-slim
RUN groupadd --gid 1000 node && useradd --uid 1000 --gid node --create-home node
COPY node /usr/local/bin/node
CMD ["node"]
D
image "$REDIS_BASE" "$empty" <<'D'
FROM millrace-test/debian:bookworm-slim
WORKDIR /data
CMD ["redis-server", "--protected-mode", "no"]
D
image "$PYTHON_BASE" "$empty" <<'D'
FROM millrace-test/debian:bookworm-slim
RUN ln -s /usr/bin/python3 /usr/local/bin/python3 && ln -s /usr/bin/python3 /usr/local/bin/python
CMD ["python3"]
D
