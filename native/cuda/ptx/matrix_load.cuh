// ldmatrix and stmatrix: 8 × 8 matrices of 16-bit elements between shared memory and the registers of a warp, in the layout of mma's
// fragments (PTX ISA, "Warp-level matrix load instruction: ldmatrix", "… store instruction: stmatrix").
//
// Matrix m takes its eight row addresses (16 bytes each, 16-byte aligned) from lanes 8m to 8m + 7. Register m of lane l holds elements
// 2(l % 4) and 2(l % 4) + 1 of row l / 4; transposed, elements of column l / 4 at rows 2(l % 4) and 2(l % 4) + 1. With 32-bit elements an
// untransposed load moves 8 × 4 of them: element l % 4 of row l / 4, which is what tf32 fragments want.
#pragma once
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

template <int Count>
struct Registers {
  uint32_t r[Count];
};

#if !defined(__CUDACC__)
namespace model {

inline void check_rows(Machine& machine, const char* what, const void* const* rows, int count) {
  uintptr_t addresses[kWarpSize];
  for (int i = 0; i < count; ++i) {
    addresses[i] = reinterpret_cast<uintptr_t>(rows[i]);
    if (addresses[i] % 16 || !machine.in_shared(rows[i], 16))
      machine.fail(std::string(what) + ": the row of lane " + std::to_string(i) + " is not 16 aligned bytes of shared memory");
  }
  if (machine.counting) machine.counters().matrix_rows(addresses, count);
}

template <int Count, bool Transposed>
Registers<Count> load_matrix(const void* row, const Site& site) {
  return Machine::active()->collective<Registers<Count>>(
      0xffffffffu, "ldmatrix", site, row, [](const void* const* rows, Registers<Count>* out, uint32_t) {
        check_rows(*Machine::active(), "ldmatrix", rows, 8 * Count);
        for (int m = 0; m < Count; ++m)
          for (int lane = 0; lane < kWarpSize; ++lane) {
            uint16_t pair[2];
            for (int i = 0; i < 2; ++i) {
              const int r = Transposed ? 2 * (lane % 4) + i : lane / 4, c = Transposed ? lane / 4 : 2 * (lane % 4) + i;
              std::memcpy(&pair[i], static_cast<const unsigned char*>(rows[8 * m + r]) + 2 * c, 2);
            }
            std::memcpy(&out[lane].r[m], pair, 4);
          }
      });
}

template <int Count>
struct StoreInput {
  void* row;
  Registers<Count> value;
};

template <int Count, bool Transposed>
void store_matrix(void* row, const Registers<Count>& value, const Site& site) {
  Machine::active()->collective<char>(0xffffffffu, "stmatrix", site, StoreInput<Count>{row, value},
                                      [](const StoreInput<Count>* in, char*, uint32_t) {
                                        const void* rows[kWarpSize];
                                        for (int i = 0; i < kWarpSize; ++i) rows[i] = in[i].row;
                                        check_rows(*Machine::active(), "stmatrix", rows, 8 * Count);
                                        for (int m = 0; m < Count; ++m)
                                          for (int lane = 0; lane < kWarpSize; ++lane) {
                                            uint16_t pair[2];
                                            std::memcpy(pair, &in[lane].value.r[m], 4);
                                            for (int i = 0; i < 2; ++i) {
                                              const int r = Transposed ? 2 * (lane % 4) + i : lane / 4;
                                              const int c = Transposed ? lane / 4 : 2 * (lane % 4) + i;
                                              std::memcpy(static_cast<unsigned char*>(in[8 * m + r].row) + 2 * c, &pair[i], 2);
                                            }
                                          }
                                      });
}

}  // namespace model
#endif

// Count = 1, 2 or 4 matrices; `row` is this lane's row address. All 32 lanes call it.
template <int Count, bool Transposed = false>
__device__ __forceinline__ Registers<Count> load_matrix(const void* row, SITE) {
  static_assert(Count == 1 || Count == 2 || Count == 4);
#if defined(__CUDACC__)
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  Registers<Count> out;
  if constexpr (Count == 1 && !Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];\n" : "=r"(out.r[0]) : "r"(at) : "memory");
  else if constexpr (Count == 1)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];\n" : "=r"(out.r[0]) : "r"(at) : "memory");
  else if constexpr (Count == 2 && !Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];\n" : "=r"(out.r[0]), "=r"(out.r[1]) : "r"(at) : "memory");
  else if constexpr (Count == 2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];\n" : "=r"(out.r[0]), "=r"(out.r[1]) : "r"(at) : "memory");
  else if constexpr (!Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(out.r[0]), "=r"(out.r[1]), "=r"(out.r[2]), "=r"(out.r[3])
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(out.r[0]), "=r"(out.r[1]), "=r"(out.r[2]), "=r"(out.r[3])
                 : "r"(at)
                 : "memory");
  return out;
#else
  return model::load_matrix<Count, Transposed>(row, site);
#endif
}

// The opposite way. stmatrix is an instruction of sm_90; before it, each lane stores its pairs (or, transposed, their halves) itself.
template <int Count, bool Transposed = false>
__device__ __forceinline__ void store_matrix(void* row, const Registers<Count>& value, SITE) {
  static_assert(Count == 1 || Count == 2 || Count == 4);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (Count == 1 && !Transposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};\n" ::"r"(at), "r"(value.r[0]) : "memory");
  else if constexpr (Count == 1)
    asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};\n" ::"r"(at), "r"(value.r[0]) : "memory");
  else if constexpr (Count == 2 && !Transposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};\n" ::"r"(at), "r"(value.r[0]), "r"(value.r[1]) : "memory");
  else if constexpr (Count == 2)
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};\n" ::"r"(at), "r"(value.r[0]), "r"(value.r[1]) : "memory");
  else if constexpr (!Transposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};\n" ::"r"(at), "r"(value.r[0]), "r"(value.r[1]),
                 "r"(value.r[2]), "r"(value.r[3])
                 : "memory");
  else
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};\n" ::"r"(at), "r"(value.r[0]), "r"(value.r[1]),
                 "r"(value.r[2]), "r"(value.r[3])
                 : "memory");
#elif defined(__CUDACC__)
  const int lane = threadIdx.x % kWarpSize;
  const auto own = reinterpret_cast<unsigned long long>(row);
#pragma unroll
  for (int m = 0; m < Count; ++m) {
    if constexpr (!Transposed) {
      auto* to = reinterpret_cast<unsigned char*>(__shfl_sync(0xffffffffu, own, 8 * m + lane / 4));
      *reinterpret_cast<uint32_t*>(to + 4 * (lane % 4)) = value.r[m];
    } else {
      auto* first = reinterpret_cast<unsigned char*>(__shfl_sync(0xffffffffu, own, 8 * m + 2 * (lane % 4)));
      auto* second = reinterpret_cast<unsigned char*>(__shfl_sync(0xffffffffu, own, 8 * m + 2 * (lane % 4) + 1));
      *reinterpret_cast<uint16_t*>(first + 2 * (lane / 4)) = static_cast<uint16_t>(value.r[m]);
      *reinterpret_cast<uint16_t*>(second + 2 * (lane / 4)) = static_cast<uint16_t>(value.r[m] >> 16);
    }
  }
#else
  model::store_matrix<Count, Transposed>(row, value, site);
#endif
}

}  // namespace tilewise::TILEWISE_GPU
