// ptx_models.cc for nvcc: the instructions themselves.
#include "ptx_models.cc"

#include "cuda/errors.cc"
