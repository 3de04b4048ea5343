#!/usr/bin/env bash
# Makes sure that an image with Ruby and Sidekiq is here, made of Debian's packages, and prints its name. Needs root where it is not.
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
image=millrace-test/sidekiq:bookworm
one_at_a_time sidekiq-image
if ! have_image "$image"; then
  root=$cache/root-sidekiq
  if [ ! -e "$root.done" ]; then
    "$here/debian.sh" "$root" ruby ruby-sidekiq
    touch "$root.done"
  fi
  tar -C "$root" -c . | docker import -c 'CMD ["ruby"]' - "$image" >/dev/null
fi
echo "$image"
