#!/usr/bin/env bash
# Does the published package work? Builds a prebuild, packs it, installs the tarball into an empty folder without running any script, and
# imports it there, with the system's copies of the bundled libraries hidden where this user may hide them.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf prebuilds && npm run --silent build:prebuild >/dev/null
npm run --silent build:native >/dev/null # prebuildify has moved the addon away; this one is for development again
npm run --silent build:ts
tarball=$PWD/$(npm pack --ignore-scripts --silent)
addon=$(echo prebuilds/linux-x64/*.node)
# The driver is looked for at run time; no CUDA library may be needed to load the addon, and what is inside of it stays inside.
if readelf -d "$addon" | grep -E 'NEEDED.*(cuda|cudart|nv|boost)'; then echo 'pack: the addon needs what no other machine has' >&2; exit 1; fi
if nm -D --defined-only "$addon" | grep -E ' [TW] (cu|__cuda)'; then echo 'pack: the addon exports its CUDA runtime' >&2; exit 1; fi
command -v nvcc >/dev/null && [[ ${TILEWISE_CUDA:-} != OFF ]] && cuda=true || cuda=false
folder=$(mktemp -d)
trap 'rm -rf "$folder" "$tarball"' EXIT

cd "$folder"
npm init -y >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error "$tarball"
cat >check.mjs <<'JS'
import { readFileSync } from 'node:fs'
import { device, gpuReport, tensor } from 'tilewise'
const x = tensor([[1, 2], [3, 4]], { device: device('cpu') })
const values = await x.add(1).read()
if (values.join() !== '2,3,4,5') throw new Error(`pack: expected 2,3,4,5, got ${values}`)
// What is loaded, by the kernel's own account: nothing from outside the package but the C and C++ runtimes and Node itself.
const mapped = new Set([...readFileSync('/proc/self/maps', 'utf8').matchAll(/\S+\.(?:so|node)[.\d]*$/gm)].map(([path]) => path))
const outside = [...mapped].filter(path => !path.startsWith(process.cwd()) && !/\/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|atomic))[.-]/.test(path))
if (outside.length > 0) throw new Error(`pack: loaded from the system: ${outside.join(', ')}`)
const { built, kernels, refusal } = gpuReport()
if (built !== (process.argv[2] === 'true')) throw new Error(`pack: the CUDA device is ${built ? '' : 'not '}in the package`)
console.log(`pack: CUDA device: ${built ? kernels : 'not built'}; here: ${refusal || 'can be used'}; auto chooses ${device('auto').kind}`)
console.log(`pack: imported and computed with ${[...mapped].filter(path => path.startsWith(process.cwd())).length} libraries of its own`)
JS

bundled=$(cd node_modules/tilewise/prebuilds/linux-x64 && ls lib*.so*)
[[ -n $bundled ]] || { echo 'pack: no bundled libraries' >&2; exit 1; }
hide='for name in '$(echo $bundled)'; do for copy in /usr/lib/x86_64-linux-gnu/$name /lib/x86_64-linux-gnu/$name; do [ -e $copy ] && mount --bind /dev/null $(readlink -f $copy); done; done; exec node check.mjs '$cuda
if unshare -rm true 2>/dev/null; then
  unshare -rm sh -c "$hide"
  echo "pack: the system's copies of $(echo $bundled) were hidden"
else
  node check.mjs $cuda
  echo "pack: this user may not hide the system's libraries; checked by what was loaded"
fi
printf 'pack: %s, %s KiB packed, %s MiB unpacked\n' "$(basename "$tarball")" "$(($(stat -c %s "$tarball") >> 10))" "$(du -sm node_modules/tilewise | cut -f1)"
