#!/usr/bin/env bash
# Makes what run.py needs: virtual environments for PyTorch (5.4 GB) and Keras (1.6 GB) in one folder; jemalloc and wrk, for which
# it needs Debian, and to be root or to have sudo, unless they are there.
#   setup.sh [DIR]      DIR: benches/peers/work if not given
set -euo pipefail
dir=${1:-$(dirname "${BASH_SOURCE[0]}")/work}
mkdir -p "$dir"

# A virtual environment of this name with these packages, unless it is there.
environment() {
    local made=$dir/$1
    [ -e "$made/.done" ] && return
    python3 -m venv "$made"
    "$made/bin/pip" install -q "${@:2}"
    touch "$made/.done"
}

# Installs Debian packages.
packages() {
    local sudo=
    ((EUID)) && sudo=sudo
    $sudo apt-get update -qq && $sudo apt-get install -y -qq "$@" >/dev/null
}

command -v wrk >/dev/null || packages wrk
ldconfig -p | grep -q 'libjemalloc\.so\.2' || packages libjemalloc2
environment venv-torch torch numpy
environment venv-tf tensorflow-cpu keras numpy flask pillow
echo "$dir: PyTorch in venv-torch, Keras and Flask in venv-tf; jemalloc and wrk are installed"
