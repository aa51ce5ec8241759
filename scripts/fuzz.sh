#!/usr/bin/env bash
# fuzz.sh [seconds=60]: the native parsers under the sanitizers: their unit tests first, then libFuzzer with those tests' cases as seeds.
# Fails on a failed check, a crash, a leak, undefined behaviour, or an input that takes longer than 10 s or 1 GiB.
# The corpus and what crashed stay in build-fuzz/, so the next run goes on from there. Needs clang with its libFuzzer runtime.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ && $seconds -gt 0 ]] || { echo "fuzz: seconds must be a whole number above 0, is '$seconds'" >&2; exit 2; }

clang=''
for candidate in ${CLANGXX:-} clang++-14 clang++-{22,21,20,19,18,17,16,15} clang++; do
  if command -v "$candidate" > /dev/null; then clang=$candidate; break; fi
done
if [[ -z $clang ]]; then
  echo 'fuzz: clang is missing; on Debian: apt-get install clang-14 libclang-rt-14-dev (or name another in CLANGXX)' >&2
  exit 3
fi

out=build-fuzz
mkdir -p "$out/corpus" "$out/seeds" "$out/crashes"
flags=(-std=c++17 -g -O1 -Wall -Wextra -fno-omit-frame-pointer -fno-sanitize-recover=all -Inative)
"$clang" "${flags[@]}" -fsanitize=address,undefined native/core/safetensors.cc test/native/safetensors_test.cc -o "$out/safetensors_test"
"$clang" "${flags[@]}" -fsanitize=fuzzer,address,undefined native/core/safetensors.cc test/native/safetensors_fuzz.cc -o "$out/safetensors_fuzz"

"$out/safetensors_test"
"$out/safetensors_test" --seeds "$out/seeds"
printf '"%s"\n' '\"dtype\":' '\"shape\":' '\"data_offsets\":' '\"__metadata__\":' '\"F32\"' '\"BF16\"' '\"I64\"' '\"BOOL\"' '\"U8\"' '\"F4\"' \
  '[0,0]' '[]' '18446744073709551615' '9007199254740993' '-1' '1.0' '\\u0000' '\\ud800' '}' '{' ',' > "$out/safetensors.dict"
log=$out/safetensors.log
status=0
"$out/safetensors_fuzz" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -use_value_profile=1 -print_final_stats=1 \
  -dict="$out/safetensors.dict" -artifact_prefix="$out/crashes/" "$out/corpus" "$out/seeds" > "$log" 2>&1 || status=$?
if [[ $status -ne 0 ]]; then
  tail -n 60 "$log"
  echo "fuzz: safetensors: FAILED with status $status; the input is in $out/crashes/, the log is $log" >&2
  exit 1
fi
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
echo "fuzz: safetensors: $runs runs in $seconds s, $rate runs/s, no findings"
