#!/bin/sh
# A compiler launcher: runs the command, and keeps what it writes to stderr in <object>.notes. CMakeLists.txt of native/cuda sets it.
object=
previous=
for argument; do
  [ "$previous" = -o ] && object=$argument
  previous=$argument
done
"$@" 2>"$object.notes"
code=$?
# People see warnings and errors; the notes are for check-kernels.mjs.
grep -vE '^ptxas info|^ +[0-9]+ bytes stack frame' "$object.notes" >&2
exit $code
