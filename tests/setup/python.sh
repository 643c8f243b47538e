#!/usr/bin/env bash
# Make .venv with the Python that is given; on Debian the module that makes it is a package of its own.
set -euo pipefail
python=${1:?python}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends python3-venv
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
