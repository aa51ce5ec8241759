#!/usr/bin/env bash
# The native unit tests, built with the address and undefined-behaviour sanitizers.
set -euo pipefail
cd "$(dirname "$0")/.."
out=build-native-tests
mkdir -p "$out"
compiler=(g++)
command -v ccache >/dev/null && compiler=(ccache g++)
flags=(-std=c++17 -g -O1 -Wall -Wextra -Wno-unused-parameter -fopenmp -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -Inative)

libraries=(-ldnnl)

# build NAME SOURCE…: objects are compiled two at a time.
build() {
  local name=$1 objects=() source
  shift
  for source in "$@"; do
    objects+=("$out/$name-$(basename "${source%.cc}").o")
    while (($(jobs -rp | wc -l) >= 2)); do wait -n; done
    "${compiler[@]}" "${flags[@]}" -c "$source" -o "${objects[-1]}" &
  done
  wait
  g++ "${flags[@]}" "${objects[@]}" "${libraries[@]}" -o "$out/$name"
}

build engine_test native/engine/*.cc test/native/engine_test.cc
build gemm_test native/cpu/gemm*.cc test/native/gemm_test.cc
# oneDNN and OpenMP keep what they allocate once for the life of the process: no leak of ours.
"$out/engine_test"
ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=2 "$out/gemm_test"

# Without sanitizers: they do not know the fibers' stacks, and the machine catches its faults by itself.
flags=(-std=c++17 -g -O1 -Wall -Wextra -Wno-unused-parameter -Wno-unknown-pragmas -fno-strict-aliasing -Inative)
libraries=(-lboost_context)
build simt_test native/simt/{machine,counters,fault,memory,runtime}.cc native/cuda/{errors,staging}.cc test/native/simt_test.cc
"$out/simt_test"
# The host side of ptx_models: the models against plain arithmetic, and the comparison of two sides.
build ptx_models native/simt/{machine,counters,fault,memory,runtime}.cc native/cuda/errors.cc test/native/ptx_models.cc
"$out/ptx_models" --problems 60 --out "$out/models.bin"
"$out/ptx_models" --problems 60 --against "$out/models.bin"
