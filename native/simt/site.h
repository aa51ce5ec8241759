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

  const char* base() const {
    const char* slash = std::strrchr(file, '/');
    return slash ? slash + 1 : file;
  }
  std::string name() const { return std::string(base()) + ":" + std::to_string(line); }
};

// The synchronizations that a run has executed: name -> what ("barrier", "wait", …).
using SiteSet = std::map<std::string, std::string>;

}  // namespace tilewise::simt

#define TILEWISE_SITE ::tilewise::simt::Site site = {__builtin_FILE(), __builtin_LINE()}
