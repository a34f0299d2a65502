#!/bin/sh
# Makes what `make setup` starts from: uv in .uv, with the hashes of bootstrap.lock checked, and a CPython 3.11 in .venv.
#
# It first stops, with nothing downloaded, on a machine that kennel's packages have no wheels for.
# Any Python from 3.9 on, with pip, installs uv. uv then finds a Python 3.11, and downloads one where there is none.
# PYTHON=/path/to/python names the Python to install uv with; when it is a 3.11, .venv is made of it too.
set -eu
cd "$(dirname "$0")"

SUPPORTED="kennel runs on Linux on x86-64 with glibc 2.28 or later"

stop() {
    printf 'kennel: %s\n' "$@" >&2
    exit 1
}

refuse_other_platforms() {
    machine="$(uname -s) on $(uname -m)"
    [ "$machine" = "Linux on x86_64" ] || stop "$SUPPORTED; this machine is $machine. Nothing was downloaded."
    glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || stop "$SUPPORTED; this machine's C library is not glibc."
    version=${glibc#glibc }
    minor=${version#2.}
    [ "${minor%%.*}" -ge 28 ] || stop "$SUPPORTED; this machine has $glibc. Nothing was downloaded."
}

# Whether a Python starts, and its version passes a test such as "== (3, 11)".
is() {
    "$1" -c "import sys; sys.exit(not sys.version_info[:2] $2)" 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON-}" ]; then set -- "$PYTHON"; else set -- python3.11 python3 python; fi
    seen=""
    for python; do
        if is "$python" ">= (3, 9)"; then
            if "$python" -m pip --version >/dev/null 2>&1; then return; fi
            seen="$seen $python (has no pip)"
        else
            seen="$seen $python ($("$python" -c 'import sys; print(sys.version.split()[0])' 2>/dev/null || echo none))"
        fi
    done
    stop "no Python 3.9 or later with pip, which uv is installed with. Looked at:$seen." \
        "Install one (Debian, Ubuntu: apt install python3 python3-pip), or name one: make setup PYTHON=/path/to/python3"
}

install_uv() {
    if cmp -s bootstrap.lock .uv/bootstrap.lock; then return; fi
    rm -rf .uv
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --target .uv -r bootstrap.lock ||
        stop "pip could not install uv: its message is above. No package index is reached, or bootstrap.lock is not met."
    cp bootstrap.lock .uv/
}

make_environment() {
    if is .venv/bin/python "== (3, 11)"; then return; fi
    wanted=cpython-3.11
    if is "$python" "== (3, 11)"; then wanted=$python; fi
    .uv/bin/uv venv --quiet --clear --python "$wanted" .venv ||
        stop "no Python 3.11 for .venv, and uv could not download one: its message is above." \
            "Looked for python3.11, python3 and python on PATH, and for the Pythons that uv has installed." \
            "Install python3.11, or name one: make setup PYTHON=/path/to/python3.11"
}

refuse_other_platforms
find_python
install_uv
make_environment
