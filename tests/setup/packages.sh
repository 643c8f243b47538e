#!/usr/bin/env bash
# Install the Debian packages that the tests check against; nothing is asked of the network when all are there.
set -euo pipefail
missing=()
while read -r package; do
  [ -z "$package" ] && continue
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done < <(sed 's/#.*//; s/ *$//' "$(dirname "$0")/packages.txt")
[ ${#missing[@]} -eq 0 ] && exit 0
sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
