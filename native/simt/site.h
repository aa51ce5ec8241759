// Where in the kernel text something happens: a default argument, so that kernels write the call as CUDA spells it.
#pragma once
#include <cstring>
#include <map>
#include <string>
#include <tuple>

namespace tilewise::simt {

struct Site {
  const char* file = "";
  int line = 0;

  // "prim/reduce.cuh:40": the folder too, because an op and a primitive may share their stem.
  std::string name() const {
    const char *folder = file, *base = file;
    for (const char* at = file; *at; ++at)
      if (*at == '/') folder = base, base = at + 1;
    return std::string(folder) + ":" + std::to_string(line);
  }
};

// The synchronizations that a run has executed: name -> what ("barrier", "wait", …).
using SiteSet = std::map<std::string, std::string>;

}  // namespace tilewise::simt

#define TILEWISE_SITE ::tilewise::simt::Site site = {__builtin_FILE(), __builtin_LINE()}
