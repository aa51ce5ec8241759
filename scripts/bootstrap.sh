#!/usr/bin/env bash
# Sets up a fresh Debian or Ubuntu machine: system packages that are missing, then the npm packages and the native build. Run it as often
# as you like; what is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

# cmake, g++ and ninja build the addon; oneDNN does its matrix products; nlohmann-json reads safetensors headers. For the tests:
# Boost.Context (fibers), clang with its runtime (libFuzzer), clang-format.
packages=(cmake g++ ninja-build libdnnl-dev nlohmann-json3-dev libboost-context-dev clang libclang-rt-dev clang-format)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  install=(apt-get install -y --no-install-recommends "${missing[@]}")
  if ! command -v apt-get >/dev/null; then
    echo "bootstrap: this machine has no apt-get; install what corresponds to: ${missing[*]}" >&2
    exit 1
  elif [[ $(id -u) == 0 ]]; then
    root=()
  elif sudo -n true 2>/dev/null; then
    root=(sudo)
  else
    echo "bootstrap: packages are missing, and installing them needs root. Run this, then bootstrap again:" >&2
    echo "  sudo apt-get update && sudo ${install[*]}" >&2
    exit 1
  fi
  "${root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${root[@]}" "${install[@]}" >/dev/null
  echo "bootstrap: installed ${missing[*]}"
fi

if ! command -v node >/dev/null || ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
  echo "bootstrap: Node.js 20.19 or newer is needed, found $(node --version 2>/dev/null || echo none): see https://nodejs.org" >&2
  exit 1
fi

# npm ci also runs `prepare`, which builds the addon and the TypeScript.
npm ci --no-audit --no-fund --loglevel=error
echo "bootstrap: done ($(node --version), $(cmake --version | head -n 1), $(command -v nvcc >/dev/null && nvcc --version | grep -o 'release [0-9.]*' || echo 'no nvcc: CPU only'))"
