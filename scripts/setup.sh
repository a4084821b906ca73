# Sourced by scripts/lengthgen and scripts/test: a virtual environment with the package in it, made once.
#
#   set_up ""      the package            set_up "[test]"    the package and what its tests need
#
# The environment is .venv in the checkout (another place: LENGTHGEN_VENV), the versions are those of constraints.txt, and
# the package is installed in editable form, so that a changed checkout needs no new installation. A finished set-up leaves a
# stamp with a checksum of what it depends on; the next call sees it and starts at once.
#
# torch. On Linux the torch that pip finds in the Python package index is the CUDA build: with its libraries several gigabytes,
# and useless without an NVIDIA GPU. Where `nvidia-smi` finds no GPU, this script therefore asks, in this order,
#   1. the configured package indexes for a CPU build of the pinned version (LENGTHGEN_TORCH_INDEX adds one more index, by URL);
#   2. uv, which knows where PyTorch keeps its CPU builds (the download is about 200 MB);
#   3. and only if neither has one, pip for the plain pinned version, after saying so.
# With a GPU, and on macOS, where the plain build is small, it is 3 at once.
#
# Without a network. Where the checkout has a folder wheels/, as scripts/bundle makes it (another place: LENGTHGEN_WHEELS),
# everything is installed from there, and no package index is asked.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${LENGTHGEN_VENV:-$root/.venv}
wheels=${LENGTHGEN_WHEELS:-$root/wheels}

say() { echo "set-up: $*" >&2; }

# The stamp of a finished set-up with the given extras, and whether it is up to date.
stamp() { echo "$venv/.lengthgen-set-up$1"; }
checksum() { cat "$root/pyproject.toml" "$root/constraints.txt" "$root/scripts/setup.sh" | cksum; }
is_set_up() { [ -x "$venv/bin/lengthgen" ] && [ "$(cat "$(stamp "$1")" 2>/dev/null)" = "$(checksum)" ]; }

# The first Python that pyproject.toml allows; PYTHON names another.
find_python() {
    local python
    for python in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    say "no Python 3.11, 3.12 or 3.13 found; install one, or name it: PYTHON=/path/to/python3"
    return 1
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

make_venv() {
    [ ! -x "$venv/bin/pip" ] || return 0
    local python
    python=$(find_python)
    "$python" -m venv "$venv"
}

# The configuration of pip may name indexes and other folders of wheels: it is left out.
install_from_wheels() {
    say "no package index is asked: everything comes from $wheels"
    PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 PIP_FIND_LINKS=$wheels \
        pip install -q -c "$root/constraints.txt" "$(grep '^torch==' "$root/constraints.txt")" -e "$root$1"
}

install_torch() {
    local pin index=()
    pin=$(grep '^torch==' "$root/constraints.txt")
    [ -z "${LENGTHGEN_TORCH_INDEX:-}" ] || index=(--extra-index-url "$LENGTHGEN_TORCH_INDEX")
    [[ $(pip list --format=freeze 2>/dev/null) == *"$pin"* ]] && return
    if [ "$(uname -s)" = Linux ] && ! nvidia-smi >/dev/null 2>&1; then
        say "no NVIDIA GPU: looking for a CPU build of $pin"
        pip install -q ${index[@]+"${index[@]}"} -c "$root/constraints.txt" "$pin+cpu" 2>/dev/null && return
        pip install -q -c "$root/constraints.txt" uv &&
            "$venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps --torch-backend=cpu "$pin" && return
        say "no CPU build can be had: installing the plain one, which may bring gigabytes of CUDA libraries"
        say "(to avoid that, stop here and set LENGTHGEN_TORCH_INDEX to the index of PyTorch's CPU wheels)"
    fi
    pip install -q ${index[@]+"${index[@]}"} -c "$root/constraints.txt" "$pin"
}

set_up() {
    is_set_up "$1" && return
    say "installing lengthgen$1 into $venv (once; a few minutes)"
    make_venv
    if [ -d "$wheels" ]; then
        install_from_wheels "$1"
    else
        install_torch
        pip install -q -c "$root/constraints.txt" -e "$root$1"
    fi
    checksum >"$(stamp "$1")"
    [ -z "$1" ] || checksum >"$(stamp "")" # the extras include the package itself
}
